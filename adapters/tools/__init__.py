"""
What a model may call: Python functions, and the tools of MCP servers (``adapters.tools.mcp``).

A tool says what it is (``definition``), whether it may be called twice, and whether a person
has to approve. Whatever goes wrong in it becomes a result that the model reads: nothing that
a tool does ends a run.
"""

from adapters.tools.functions import FunctionTool
from adapters.tools.output import Media, ToolOutput
from adapters.tools.performing import perform
from adapters.tools.port import CallableTool, ToolServer
from adapters.tools.toolbox import AnyTool, Toolbox

__all__ = [
    "AnyTool",
    "CallableTool",
    "FunctionTool",
    "Media",
    "ToolOutput",
    "ToolServer",
    "Toolbox",
    "perform",
]
