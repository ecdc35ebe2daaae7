from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

from selfsight.fitting.probes.ridge import ridge_path


@pytest.mark.parametrize(("n", "width"), [(100, 8), (20, 50)])
def test_the_path_equals_scikit_learn(n: int, width: int) -> None:
    random = np.random.default_rng(0)
    features = random.normal(size=(n, width)) + 3
    values = features @ random.normal(size=width) + random.normal(size=n) + 100
    alphas = [0.1, 1.0, 100.0]
    weight, bias = ridge_path(torch.from_numpy(features), torch.from_numpy(values), alphas)
    for i, alpha in enumerate(alphas):
        theirs = Ridge(alpha).fit(features, values)
        np.testing.assert_allclose(weight[i], theirs.coef_, atol=1e-8)
        np.testing.assert_allclose(bias[i], theirs.intercept_, atol=1e-8)
