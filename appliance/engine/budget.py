"""The CPU budget: how many cores each model's host may use."""

from collections.abc import Collection, Iterable, Mapping


def parsed_weights(texts: Iterable[str]) -> dict[str, float]:
    """Given `model=weight` entries, whose form the configuration has checked, return them."""
    return {name: float(weight) for name, _, weight in (text.partition("=") for text in texts)}


def shares(cores: int, models: Collection[str], weights: Mapping[str, float]) -> dict[str, int]:
    """Given the cores, the models that are served and their weights, return each one's cores.

    Without weights each model may use all cores and the kernel shares them out among those that
    are busy, which wastes none. With weights (1 where none is given) the cores are dealt out by
    the largest-remainder method, at least one to each, so that a heavy model cannot slow the
    others beyond its share.
    """
    if not weights:
        return dict.fromkeys(models, cores)
    weight_of = {model: weights.get(model, 1.0) for model in models}
    total = sum(weight_of.values())
    exact = {model: cores * weight / total for model, weight in weight_of.items()}
    dealt = {model: int(share) for model, share in exact.items()}
    left = cores - sum(dealt.values())
    by_remainder = sorted(exact, key=lambda model: (dealt[model] - exact[model], model))
    for model in by_remainder[:left]:
        dealt[model] += 1
    return {model: max(1, share) for model, share in dealt.items()}
