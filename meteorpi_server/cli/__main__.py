"""``python -m meteorpi_server.cli``: the command line without the console script."""

from meteorpi_server.cli.entry import main

main()
