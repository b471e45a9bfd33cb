"""What is assumed of MAST's Missions search, whose tables are taken as input.

Source: https://mast.stsci.edu/search/docs/hst_api_openapi.json and the answers that astroquery's tests have recorded.
"""

from __future__ import annotations

import json

from hst_cloud.archive.session import excerpt
from hst_cloud.doctor.services import Services, mast_json
from hst_cloud.doctor.values import KNOWN_KEYS, Assumption, BrokenError

__all__ = ["MISSIONS"]

_COLUMNS = ("filename", "uri", "dataset", "access", "size")


def _missions_search(services: Services) -> str:
    wanted = KNOWN_KEYS[-1].obs_id.upper()
    asked = {
        "conditions": [{"sci_data_set_name": wanted}],
        "select_cols": ["sci_data_set_name", "sci_instrume", "sci_status"],
        "limit": 10,
        "offset": 0,
    }
    answer = mast_json(services, "POST", "search/hst/api/v0.1/search", json=asked)
    results = answer.get("results") if isinstance(answer, dict) else None
    if not isinstance(results, list) or not isinstance(answer.get("totalResults"), int) or "info" not in answer:
        message = f"expected 'results', 'totalResults' and 'info', found {excerpt(json.dumps(answer))}"
        raise BrokenError(message)
    names = [str(row.get("sci_data_set_name", "")).strip() for row in results if isinstance(row, dict)]
    if names != [wanted]:
        message = f"sci_data_set_name={wanted} finds {', '.join(names[:5]) or 'nothing'}"
        raise BrokenError(message)
    return f"{wanted} found, with {len(results[0])} columns"


def _missions_products(services: Services) -> str:
    known = KNOWN_KEYS[-1]
    answer = mast_json(
        services, "POST", "search/hst/api/v0.1/post_list_products", json={"dataset_ids": [known.obs_id.upper()]}
    )
    products = answer.get("products") if isinstance(answer, dict) else None
    if isinstance(products, list) and len(products) == 1 and isinstance(products[0], list):
        [products] = products  # recorded both ways
    if not isinstance(products, list) or not all(isinstance(row, dict) for row in products):
        message = f"expected 'products', found {excerpt(json.dumps(answer))}"
        raise BrokenError(message)
    missing = sorted({name for row in products for name in _COLUMNS if name not in row})
    if missing or known.filename not in {row.get("filename") for row in products}:
        what = f"without {', '.join(missing)}" if missing else f"{known.filename} not among them"
        message = f"{len(products)} products of {known.obs_id.upper()}, {what}"
        raise BrokenError(message)
    return f"{len(products)} products of {known.obs_id.upper()}, {known.filename} among them"


MISSIONS: tuple[Assumption, ...] = (
    Assumption(
        name="missions-search",
        of="mast",
        statement="The Missions search finds a dataset by its name, and answers with results, totalResults and info.",
        breaks="Nothing yet: search asks another service. Tables of astroquery's MastMissions may have changed.",
        probe=_missions_search,
        after=("mast-answers",),
    ),
    Assumption(
        name="missions-products",
        of="mast",
        statement="The Missions list of products names their files, datasets and sizes.",
        breaks="Tables of products from astroquery's MastMissions as input of resolve and open.",
        probe=_missions_products,
        after=("mast-answers",),
    ),
)
