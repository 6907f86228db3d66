# Each recipe is no more than the commands it names; nobody needs `just` to work here.

# What a change must pass
check:
    .ci/run

test *args:
    cargo build --workspace --bins --features failpoints
    cargo test --workspace --features failpoints {{args}}

# What is published against what answers; `just published --long` takes hours
published *args:
    cargo build --workspace --bins
    python3 deploy/check/published.py {{args}}

# The demo: five services and a worker on this machine
demo *args:
    cargo build --workspace --bins
    cargo run --bin controlplane -- demo {{args}}

fmt:
    cargo fmt --all

# Writes the generated schemas anew
schemas:
    UPDATE_EXPECT=1 cargo test --test contracts schemas
