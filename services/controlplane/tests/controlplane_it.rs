//! The command as an operator meets it: real processes, a real broker, and what is printed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[path = "controlplane_it/asking.rs"]
mod asking;
#[path = "controlplane_it/benching.rs"]
mod benching;
#[path = "controlplane_it/causes.rs"]
mod causes;
#[path = "controlplane_it/conforming.rs"]
mod conforming;
#[path = "controlplane_it/contexts.rs"]
mod contexts;
#[path = "controlplane_it/demonstrating.rs"]
mod demonstrating;
#[path = "controlplane_it/doors.rs"]
mod doors;
#[path = "controlplane_it/encrypting.rs"]
mod encrypting;
#[path = "controlplane_it/every_error.rs"]
mod every_error;
#[path = "controlplane_it/every_operation.rs"]
mod every_operation;
#[path = "controlplane_it/exemplifying.rs"]
mod exemplifying;
#[path = "controlplane_it/gateway.rs"]
mod gateway;
#[path = "controlplane_it/held_back.rs"]
mod held_back;
#[path = "controlplane_it/helping.rs"]
mod helping;
#[path = "controlplane_it/installing.rs"]
mod installing;
#[path = "controlplane_it/looking.rs"]
mod looking;
#[path = "controlplane_it/overhearing.rs"]
mod overhearing;
/// What the reference contract says, which the contracts themselves are tested against.
#[path = "../../../shared/contracts/tests/contracts/reference/fixture.rs"]
mod reference;
#[path = "controlplane_it/ruling.rs"]
mod ruling;
#[path = "controlplane_it/sides.rs"]
mod sides;
#[path = "controlplane_it/skills.rs"]
mod skills;
#[path = "controlplane_it/stage.rs"]
mod stage;
#[path = "controlplane_it/staying_up.rs"]
mod staying_up;
#[path = "controlplane_it/two_workspaces.rs"]
mod two_workspaces;
#[path = "controlplane_it/users.rs"]
mod users;
#[path = "controlplane_it/watching.rs"]
mod watching;
#[path = "controlplane_it/world.rs"]
mod world;
