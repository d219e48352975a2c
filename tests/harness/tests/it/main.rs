//! Parts of the kit that stand between the system and what comes from outside.

#![cfg(test)]

mod haproxy;
