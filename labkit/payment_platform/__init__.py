"""The payment platform (第三方支付平台): a third party that stands in for Alipay."""
