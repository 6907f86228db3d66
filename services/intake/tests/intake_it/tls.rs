//! Intake as a process, with everything encrypted.
