"""Admin routes: accounts, tokens, export configurations, camera status, the audit log."""

from meteorpi_server.admin_api import audit, cameras, exports, tokens, users
from meteorpi_server.admin_api.routes import add_routes, blueprint

__all__ = ["add_routes", "audit", "blueprint", "cameras", "exports", "tokens", "users"]
