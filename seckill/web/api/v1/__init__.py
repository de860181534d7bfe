"""The versioned routes below /v1: everything that operators see and do."""

from ninja import Router

from seckill.web.api.v1 import activities, acts, late_payments, lookups, orders, results, split

router = Router()
router.add_router("", activities.router)
router.add_router("", acts.router)
router.add_router("", late_payments.router)
router.add_router("", lookups.router)
router.add_router("", orders.router)
router.add_router("", results.router)
router.add_router("", split.router)
