# Each recipe is no more than the cargo commands it names; nobody needs `just` to work here.

# What CI checks
check:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings
    cargo test --workspace

test *args:
    cargo test --workspace {{args}}

# The demo: five services and a worker on this machine
demo *args:
    cargo build --workspace --bins
    cargo run --bin controlplane -- demo {{args}}

fmt:
    cargo fmt --all

# Writes the generated schemas anew
schemas:
    UPDATE_EXPECT=1 cargo test --test contracts schemas
