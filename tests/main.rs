//! All integration tests in one binary: they share one server.

// Each file uses the part of the support that it needs; the rest is for the files to come.
#[allow(dead_code)]
mod support;

mod observe;
mod sandbox;
mod test_support;
