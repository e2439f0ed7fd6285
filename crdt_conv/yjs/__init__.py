"""Updates of Yjs (V1) as bytes: read, written, merged and checked without a document. Pure."""
