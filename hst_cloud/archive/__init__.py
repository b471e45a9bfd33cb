"""From a question to object keys: MAST's services, the grammar of names, the rule for keys."""
