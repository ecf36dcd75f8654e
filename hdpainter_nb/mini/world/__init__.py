"""The drawn world, with numpy and OpenCV alone.

`canvas` draws shapes at any scale, `backgrounds` what lies behind them, `scene` puts both together.
`holes` makes masks, `captions` words about scenes. `sets` and `large` are held-out tasks for the
inpainting miniature and for the upscaler: no training sees them.
"""
