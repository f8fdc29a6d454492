"""Read-through cache for async loaders: one load for all who ask, in memory or shared.

`Cache` and `@cached`; `Shared` puts a `CacheStore` behind the memory. No extra is needed.
"""

from prodkit.data.cache.cache import Cache
from prodkit.data.cache.decorator import CacheOptions, cached
from prodkit.data.cache.events import CacheStats, RefreshFailed, SharedTierFailed, StaleServed
from prodkit.data.cache.shared import Shared
from prodkit.data.cache.store import CacheStore, SharedTierError
from prodkit.data.cache.wrapping import Cached

__all__ = [
    "Cache",
    "CacheOptions",
    "CacheStats",
    "CacheStore",
    "Cached",
    "RefreshFailed",
    "Shared",
    "SharedTierError",
    "SharedTierFailed",
    "StaleServed",
    "cached",
]
