use axum::{Router, middleware, routing::get};
use tower_service::Service;

use super::*;
