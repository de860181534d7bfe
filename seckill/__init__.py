"""The flash sale."""

# The one version: of the commands, the API's description and the package.
__version__ = "0.1.0"
