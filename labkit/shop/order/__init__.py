"""The order service (订单服务): its flows, steps, queries and statements."""
