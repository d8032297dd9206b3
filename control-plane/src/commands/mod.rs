//! One file per command: its input, its outcome, one transaction. What comes in was decoded and belongs to a known tenant or
//! session; what goes out is an outcome or a typed error. No command knows of gRPC.
