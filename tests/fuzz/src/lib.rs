//! What the fuzz targets do with their bytes: one function a target, one file a side of the gateway.

#![forbid(unsafe_code)]

pub mod field;
pub mod wire;
