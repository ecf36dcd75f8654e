"""What numbers of single pictures prove, in NumPy.

- `intervals`: a mean, and where the true one lies; `seeds`: what chance alone moves
- `paired`: two systems on the same triplets; `mcnemar`: the same for yes and no
- `preference`: PickScore as percentages; `agreement`: do two metrics say the same?
- `power`: how many triplets a difference needs
"""
