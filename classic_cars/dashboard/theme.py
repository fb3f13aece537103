"""Colours and type, light and dark. Hues are told apart by people who see few of them: Okabe and Ito's, darkened or
lightened until they stand out from the background."""

from __future__ import annotations

import json

#: In the order in which they are given out: product lines keep theirs on every chart of a page.
ON_LIGHT = ("#0b5d4b", "#b85c00", "#0072b2", "#a8467e", "#7a6a00", "#5b5bb5", "#6b6f72")
ON_DARK = ("#5fc6a8", "#f0a24a", "#63b3ea", "#e08fbd", "#d8c64a", "#a9a7f0", "#aab1b5")
#: From little to much, one hue.
SEQUENCE_ON_LIGHT = "#e3efe9 #cbe1d8 #b0d1c4 #92c0b0 #74ae9b #579b86 #3d8772 #27735f #14604d #07493a"
SEQUENCE_ON_DARK = "#1c332d #22433b #29554a #30685a #387c6b #43917d #52a68f #68bba3 #86cfb9 #abe3d1"

SHARED = {
    "font": "sans-serif",
    "headingFont": "serif",
    "baseRadius": "6px",
    "baseFontSize": "15",
}
LIGHT = {
    "primaryColor": "#0b5d4b",
    "backgroundColor": "#fbfaf7",
    "secondaryBackgroundColor": "#f1eee7",
    "textColor": "#1d2321",
    "linkColor": "#0b5d4b",
    "borderColor": "#dcd7cc",
    "chartCategoricalColors": json.dumps(ON_LIGHT),
    "chartSequentialColors": json.dumps(SEQUENCE_ON_LIGHT.split()),
}
DARK = {
    "primaryColor": "#5fc6a8",
    "backgroundColor": "#121614",
    "secondaryBackgroundColor": "#1b211e",
    "textColor": "#e9ece9",
    "linkColor": "#7ad3b8",
    "borderColor": "#333c38",
    "chartCategoricalColors": json.dumps(ON_DARK),
    "chartSequentialColors": json.dumps(SEQUENCE_ON_DARK.split()),
}
