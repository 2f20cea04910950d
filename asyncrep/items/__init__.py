"""Items as DynamoDB sends them: raw wire JSON, keys, equality, JSON lines.

Glossary:
    image       one item as compact or not so compact wire JSON bytes, ``{"id":{"S":"a"},"n":{"N":"1"}}``,
                exactly as the service sent it. It is never turned into Python numbers.
    key         the canonical wire JSON of an item's key attributes in key-schema order (HASH, RANGE),
                without white space: equal keys are equal bytes, so it serves as dictionary key, as the
                piece of a request and as the name of a record.
    canonical   one spelling for each value: numbers without sign of zero, zeros or exponents, sets
                in order.
"""
