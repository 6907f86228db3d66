//! permitted
