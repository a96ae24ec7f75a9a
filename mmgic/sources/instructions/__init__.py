"""Instruction data (Table 14), one module per family of formats; every record becomes a row of rounds."""
