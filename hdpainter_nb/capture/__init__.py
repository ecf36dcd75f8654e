"""What to keep of a step, where it goes.

`capture` is the request, `store` the arrays within their budget, `transfer` their way off the
model's device. Only `transfer` knows torch.
"""
