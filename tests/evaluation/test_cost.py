"""What a run will cost, in words."""

from hdpainter_nb.evaluation.cost import RunCost, SystemCost


def test_small_and_large_counts_are_readable():
    small = SystemCost("mini", 6, 151_000_000_000, 59_400_000)
    large = SystemCost("sd15", 300, 20_400_000_000_000_000, 4_000_000_000)
    assert str(small) == "mini: 6 pictures, 0.151 TFLOP, peak 59.4 MB"
    assert "20.4 PFLOP" in str(large)
    assert str(RunCost((small, large))).endswith("in all 306 pictures, 20.4 PFLOP")
