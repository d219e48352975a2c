//! Modbus TCP, RTU and RTU over TCP: reading by function codes 1 to 4, writing by 5, 6, 15, 16, 22 and 23,
//! any width, order and scale. `README.md` beside this crate is the guide for whoever wires a device.
//!
//! | file | holds |
//! |---|---|
//! | [`config`] | what to read and write, checked: bus, device, point, and the texts a configuration writes them in |
//! | [`codec`] | pure: registers to values and back |
//! | [`plan`] | pure: points to requests, and how a request after an error is told from its predecessor |
//! | [`timing`] | pure: what a request costs, and how far a gap pays |
//! | [`learned`] | pure: what refusals say about a device; kept across restarts |
//! | [`load`] | pure: how much of its time a bus needs, before anything is applied |
//! | [`schedule`] | pure: which poll group is due |
//! | [`frame`] | pure: the answer to a request among the bytes of a serial line |
//! | `command` | pure: a value to the requests that write it |
//! | [`connect`] | the seam to network, serial port and tests |
//! | `guard`, `link` | the wire: tokio-modbus clients over our own guarded transport |
//! | `driver` | one task a bus |
//! | `session` | one question at a time, for the tools that find out |
//!
//! # What happens after an error
//! Plain Modbus RTU has no transaction id, so a late answer looks like the answer to the next
//! request. After any error (time-out, damage, mismatch) the link therefore
//! 1. stays quiet for one response time-out and throws away what arrives (RTU), or drops the
//!    connection (TCP);
//! 2. goes on with a fresh client context;
//! 3. asks that unit next for another number of registers, so that an answer that is later still
//!    fails the length check. A request that cannot be split is made one register longer; if the
//!    device refuses that, it is asked again in its own shape.
//!
//! The limits that remain: a device that answers out of order, a later request before an earlier
//! one; and an answer so late that two more requests to the unit failed in between, the second of
//! them of the same length as the first request. Choose the time-out above what the slowest device
//! needs.
//!
//! # Writes
//! An order ([`protocols_driver::Orders`]) goes ahead of every poll, also between two requests of a pass
//! and while nobody takes readings. What cannot be written (unknown, read only, out of range, expired,
//! dead device, link down) is answered without a byte on the wire; what was sent is sent once, and without
//! a confirmation the answer is `Unknown`. Values of several registers go out in one request unless the
//! device takes single ones only.
//!
//! # What can go wrong on the wire
//! A row a test, in `tests/it`. "The points" are those of the request it happens to.
//!
//! | what goes wrong | what you will see | what the gateway does | test |
//! |---|---|---|---|
//! | nobody answers | points `timeout`, counter `timeouts`; after `retry.fails` of them `not-asked`, link down | probes it after growing waits, all dead units together in at most 5 % of the bus time | `a_dead_unit_on_a_serial_line_leaves_the_others_their_rate` |
//! | the answer comes after its time-out | points `timeout`, counter `late_answers` | drops it; asks in another shape until the unit has answered | `late_answer_is_never_taken_for_the_next_request` |
//! | the device is slower than its time-out, always | points `timeout`, then `not-asked` | gives no value at all; raise `timeout` | `a_device_that_is_always_late_gives_no_values_at_all` |
//! | the answer is short, long, or has a wrong byte count | points `bad-answer` | drops it, waits a time-out in silence, goes on | `on_a_serial_line_every_fault_is_named_and_the_polls_around_it_are_good` |
//! | it is another unit's, or to another function | points `bad-answer`, counter `late_answers` | the same | `on_a_serial_line_every_fault_is_named_and_the_polls_around_it_are_good` |
//! | the same over TCP | the same | drops the connection and makes it again at once | `over_tcp_every_fault_is_named_and_the_polls_around_it_are_good` |
//! | the checksum is wrong: noise, termination, two devices at once | points `bad-answer`, counter `crc_errors` | drops it, waits in silence, goes on | `a_wrong_checksum_is_a_bad_answer_and_counted` |
//! | noise before or after the answer | nothing but counter `stray_bytes` | takes the intact answer out of it (RTU) | `on_a_serial_line_every_fault_is_named_and_the_polls_around_it_are_good` |
//! | garbage, also without end | points `bad-answer` | throws it away, bounded | `on_a_serial_line_every_fault_is_named_and_the_polls_around_it_are_good` |
//! | exception 02, 03: an address is missing, a request too long | once more requests than usual; an address that is missing even alone is `device-error` | asks in parts, learns holes and lengths, remembers them | `limits_and_holes_are_found_without_losing_a_reading_and_remembered` |
//! | an address does not exist | its point `device-error`, the others good | asks it alone | `one_address_that_the_device_does_not_have_costs_its_neighbours_nothing` |
//! | other exceptions | points `device-error`, counter `exceptions` | asks again at the next poll; the device counts as alive | `over_tcp_every_fault_is_named_and_the_polls_around_it_are_good` |
//! | exception 0A, 0B of a gateway | points `timeout` | treats the unit as silent, keeps the connection | `a_gateway_that_says_the_unit_is_away_makes_it_dead_and_keeps_the_connection` |
//! | a two-wire adapter lets us hear ourselves | nothing | takes our own request out of what comes back | `the_echo_of_a_request_is_never_taken_for_its_answer` |
//! | the connection ends in mid-frame | points `link-down` | makes it again, with back-off when it never served | `over_tcp_every_fault_is_named_and_the_polls_around_it_are_good` |
//! | the server closes idle connections | nothing | connects for the next request | `a_server_that_closes_idle_connections_costs_no_reading` |
//! | the server is away | points `link-down` | tries again after growing waits up to 30 s | `a_server_that_restarts_is_reported_as_down_and_polled_again_when_it_is_back` |
//! | a server for a serial line is switched off without a word | points `timeout` | connects anew after four requests without an answer | `a_server_for_serial_lines_that_went_away_without_a_word_is_connected_to_anew` |
//! | the adapter is pulled | points `link-down`, at once | closes the port; opens it when it is there again | `a_serial_port_that_is_unplugged_is_reported_and_used_again_when_it_is_back` |
//! | it is pulled between two polls | links down at once | closes the port without waiting for a poll | `an_adapter_pulled_between_two_polls_is_closed_and_reported_at_once` |
//! | somebody else holds the port | points `link-down`, an event with the holder's name | tries again | `a_port_that_somebody_holds_is_used_as_soon_as_it_is_free` |
//! | the port takes no bytes | points `timeout` | gives up after the time-out | `a_port_that_takes_no_bytes_is_a_time_out_and_never_holds_up_the_stop` |
//! | a write is not confirmed, or cut, or confirmed wrongly | the order `Unknown` | never sends it again; goes through the silence above | `a_write_that_nobody_confirms_is_unknown_and_never_repeated` |
//! | a confirmation comes late | the order `Unknown` | drops it | `a_confirmation_that_comes_late_is_never_taken_for_a_reading_or_another_write` |
//! | a device confirms and does not take the value | with `verify`: the order `NotVerified` and what stands there | reads back three times, 100 ms apart | `a_verified_point_is_read_back_and_a_device_that_did_not_take_it_is_told` |
//! | what was learned is damaged on disk | a warning | finds it out again | `a_damaged_memory_is_ignored_and_replaced` |

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod codec;
mod command;
pub mod config;
pub mod connect;
mod driver;
pub mod frame;
mod guard;
pub mod learned;
mod link;
pub mod load;
pub mod plan;
pub mod schedule;
mod session;
pub mod timing;

pub use driver::ModbusDriver;
pub use session::{AskError, Session};
