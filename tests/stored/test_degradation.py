from signalprop.stored import degradation


def test_both_kinds_have_the_same_number_of_weights():
    for depth in degradation.GRID["depth"]:
        plain, residual = (
            sum(weight.numel() for weight in degradation.network(depth, kind, 0).parameters())
            for kind in degradation.GRID["kind"]
        )
        assert plain == residual
