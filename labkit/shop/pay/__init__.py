"""The pay service (支付服务): its flows, steps and statements, polling and refunds."""
