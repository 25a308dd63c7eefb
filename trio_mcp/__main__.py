"""`python -m trio_mcp`: the command `trio-mcp`."""

from trio_mcp.cli import main

if __name__ == "__main__":
    main(prog_name="trio-mcp")
