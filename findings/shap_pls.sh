#!/usr/bin/env bash
# shap explains predictions of a PLS calibration that the calibration never makes.
#
# Versions: shap 0.51.0, scikit-learn 1.9.1.
# Expectation (guess 278, 60 %): the base value and the contributions of a row add up to `predict`, as they do for Ridge, or a model that
# is not understood is refused.
# Behaviour: `LinearExplainer` takes any model that has `coef_` and `intercept_`, and checks no sum. Those of PLSRegression do not belong
# together (pls_intercept.sh), so the base value, said to be the mean prediction, lies 70 off where y is about 21. The contributions
# themselves are right. A waterfall plot begins and ends at concentrations below -40 or above 90, without a word.
# A base value set to the mean of `predict` mends it.
# Seen:
#     Ridge          mean of predict 20.5, base value 20.5, base value and contributions are off by  0.0
