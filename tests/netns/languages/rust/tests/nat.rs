//! Tests run in threads of one process; each has a lab of its own, with the same names and addresses.

use nat::{text, Lab};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::channel;

fn seen_behind(nat: &str) -> (String, String) {
    let mut lab = Lab::new();
    lab.ask("add_router", r#"{"name": "dc"}"#).unwrap();
    let router = lab.ask("add_router", &format!(r#"{{"name": "home", "nat": "{nat}"}}"#)).unwrap();
    let server = lab.ask("add_device", r#"{"name": "server", "router": "dc"}"#).unwrap();
    lab.ask("add_device", r#"{"name": "laptop", "router": "home"}"#).unwrap();

    let (listening, is_listening) = channel();
    let serving = lab.inside("server", move || {
        let listener = TcpListener::bind("0.0.0.0:7").unwrap();
        listening.send(()).unwrap();
        listener.accept().unwrap().1.ip().to_string()
    });
    is_listening.recv().unwrap();
    let address = format!("{}:7", text(&server, "ip"));
    lab.inside("laptop", move || TcpStream::connect(address).unwrap()).join().unwrap();
    (serving.join().unwrap(), text(&router, "ip"))
}

#[test]
fn a_home_router_shows_its_own_address() {
    let (seen, router) = seen_behind("home");
    assert_eq!(seen, router);
}

#[test]
fn a_router_without_nat_shows_the_laptops() {
    let (seen, router) = seen_behind("none");
    assert_ne!(seen, router);
}

#[test]
fn what_is_wrong_is_said() {
    let refused = Lab::new().ask("add_router", r#"{"name": "home", "nat": "hme"}"#).unwrap_err();
    assert!(refused.contains("InputError") && refused.contains("did you mean"), "{refused}");
}
