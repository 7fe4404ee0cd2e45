/** The panel beside the picture: everything about what is selected, at the moment that is shown. */
import { bitRate, bytes, count } from "../format";
import { behaviourRows } from "../lab/behaviours";
import { conditionLabel } from "../lab/conditions";
import { type Counts, DROP_CAUSES, type LinkActivity } from "../lab/counters";
import type { Addresses, Condition, Device, Interface, Router } from "../lab/model";
import type { Link } from "./edges";
import type { Scene } from "./scene";
import { deviceId, IX, nodeOfId, parentOf, regionId, routerId } from "./structure";

export interface DetailsProps {
  scene: Scene;
  selected: string;
  onSelect: (id: string | null) => void;
  /** Addresses of the node's logs and lane. */
  logsOf: (node: string) => string;
  timelineOf: (node: string) => string;
}

/** What is selected, in words; null when there is no such thing at the moment. */
export function titleOf(scene: Scene, id: string): string | null {
  const link = scene.links.find((each) => each.id === id);
  if (link) return `Link ${nameOf(link.from)} – ${nameOf(link.to)}`;
  const node = nodeOfId(id);
  const isThere =
    node &&
    ((node.kind === "ix" && scene.lab.ix) ||
      (node.kind === "region" && scene.lab.regions.has(node.name)) ||
      (node.kind === "router" && scene.lab.routers.has(node.name)) ||
      (node.kind === "device" && scene.lab.devices.has(node.name)));
  return isThere ? (node.kind === "ix" ? "Internet exchange" : `${capital(node.kind)} ${node.name}`) : null;
}

export function Details(props: DetailsProps) {
  const { scene, selected, onSelect, logsOf, timelineOf } = props;
  const node = nodeOfId(selected);
  const hasLogs = node?.kind === "router" || node?.kind === "device";
  return (
    <aside className="topology-details" aria-label="Details">
      <div className="details-head">
        <h2>{titleOf(scene, selected) ?? "Not there at this moment"}</h2>
        <button type="button" onClick={() => onSelect(null)} aria-label="Close the details">
          ✕
        </button>
      </div>
      {node && hasLogs && (
        <p className="details-links">
          <a href={logsOf(node.name)}>Logs</a> <a href={timelineOf(node.name)}>Timeline</a>
        </p>
      )}
      <Content {...props} />
    </aside>
  );
}

function Content({ scene, selected, onSelect }: DetailsProps) {
  const { lab } = scene;
  const link = scene.links.find((each) => each.id === selected);
  if (link) return <LinkDetails link={link} scene={scene} onSelect={onSelect} />;
  const node = nodeOfId(selected);
  const router = node?.kind === "router" && lab.routers.get(node.name);
  if (node && router) return <RouterDetails name={node.name} router={router} scene={scene} onSelect={onSelect} />;
  const device = node?.kind === "device" && lab.devices.get(node.name);
  if (node && device) return <DeviceDetails name={node.name} device={device} scene={scene} onSelect={onSelect} />;
  const region = node?.kind === "region" && lab.regions.get(node.name);
  if (node && region) {
    const links = scene.links.filter(
      (each) => each.kind === "region" && (each.from === selected || each.to === selected),
    );
    return (
      <>
        <Facts
          facts={[
            ["LAN", region.cidr],
            ["IPv6 LAN", region.cidr_v6],
          ]}
        />
        <Nodes title="Routers" ids={region.routers.map(routerId)} onSelect={onSelect} />
        {links.map((each) => (
          <LinkDetails key={each.id} link={each} scene={scene} onSelect={onSelect} hasTitle />
        ))}
      </>
    );
  }
  if (node?.kind !== "ix" || !lab.ix) return null;
  const roots = [...lab.routers.keys()].filter((name) => parentOf(lab, name) === IX).map(routerId);
  return (
    <>
      <Facts facts={addressFacts(lab.ix)} />
      <Nodes title="Connected" ids={[...[...lab.regions.keys()].map(regionId), ...roots]} onSelect={onSelect} />
    </>
  );
}

interface Selecting {
  scene: Scene;
  onSelect: (id: string | null) => void;
}

function RouterDetails({ name, router, scene, onSelect }: { name: string; router: Router } & Selecting) {
  const parent = parentOf(scene.lab, name);
  const uplink = scene.links.find((link) => link.id === `${routerId(name)}/uplink`);
  const members = [...scene.lab.devices]
    .filter(([, device]) => device.interfaces.some((each) => each.router === name))
    .map(([device]) => deviceId(device));
  const below = [...scene.lab.routers.keys()]
    .filter((each) => parentOf(scene.lab, each) === routerId(name))
    .map(routerId);
  return (
    <>
      <Facts
        facts={[
          ["State", scene.rebooting.has(name) ? "rebooting" : "up"],
          ["NAT", router.nat],
          ["IPv6 NAT", router.nat_v6],
          ["Firewall", router.firewall],
          ["IP support", router.ip_support],
          ["MTU", router.mtu === null ? null : `${router.mtu} bytes`],
          ["Region", router.region],
        ]}
      />
      <Behaviour word="NAT" table={router.nat_table} />
      {router.firewall !== "none" && <Behaviour word="firewall" table={router.firewall_table} />}
      <h3>Uplink</h3>
      {parent && <Nodes ids={[parent]} onSelect={onSelect} />}
      {router.uplink ? <Facts facts={addressFacts(router.uplink)} /> : <p className="muted">none</p>}
      {uplink && <Way word="to the upstream" condition={uplink.up} activity={activityOf(uplink, scene)} way="up" />}
      <h3>LAN</h3>
      {router.downstream && (
        <Facts
          facts={[
            ["Prefix", router.downstream.cidr],
            ["IPv6 prefix", router.downstream.cidr_v6],
            ...addressFacts(router.downstream),
          ]}
        />
      )}
      <Way
        word="into the LAN"
        condition={router.downlink_condition}
        activity={scene.activity.get(`${name}.lan`)}
        way="down"
      />
      <Nodes ids={[...below, ...members]} onSelect={onSelect} />
    </>
  );
}

function DeviceDetails({ name, device, scene, onSelect }: { name: string; device: Device } & Selecting) {
  return (
    <>
      <Facts
        facts={[
          ["Default via", device.default_via],
          ["MTU", device.mtu === null ? null : `${device.mtu} bytes`],
        ]}
      />
      {device.interfaces.map((each) => (
        <InterfaceDetails key={each.name} device={name} face={each} scene={scene} onSelect={onSelect} />
      ))}
    </>
  );
}

function InterfaceDetails({ device, face, scene, onSelect }: { device: string; face: Interface } & Selecting) {
  const activity = scene.activity.get(`${device}.${face.name}`);
  return (
    <section>
      <h3>
        {face.name} <span className={face.up ? "is-ok" : "is-bad"}>{face.up ? "up" : "down"}</span>
      </h3>
      <Nodes ids={[routerId(face.router)]} onSelect={onSelect} />
      <Facts facts={addressFacts(face)} />
      <Way word="sends" condition={face.condition} activity={activity} way="up" />
      <Way word="receives" condition={face.download_condition} activity={activity} way="down" />
    </section>
  );
}

function LinkDetails({ link, scene, onSelect, hasTitle = false }: { link: Link; hasTitle?: boolean } & Selecting) {
  const isRegion = link.kind === "region";
  const [near, far] = [nameOf(link.from), nameOf(link.to)];
  // Each end of a link between regions counts what leaves there; the others count both ways in one.
  const back = isRegion ? scene.activity.get(link.counters[1] ?? "") : activityOf(link, scene);
  return (
    <section>
      {hasTitle && <h3>{`${near} – ${far}`}</h3>}
      <Facts facts={[["State", link.isUp ? "up" : isRegion ? "broken" : "down"]]} />
      <Way
        word={isRegion ? `${near} to ${far}` : `${far} to ${near}`}
        condition={link.up}
        activity={activityOf(link, scene)}
        way={isRegion ? "down" : "up"}
      />
      <Way
        word={isRegion ? `${far} to ${near}` : `${near} to ${far}`}
        condition={link.down}
        activity={back}
        way="down"
      />
      {!hasTitle && <Nodes ids={[link.from, link.to]} onSelect={onSelect} />}
    </section>
  );
}

function Behaviour({ word, table }: { word: string; table: Router["nat_table"] }) {
  if (!table) return null;
  return (
    <details className="way">
      <summary>What the {word} does</summary>
      <Facts facts={behaviourRows(table)} />
    </details>
  );
}

/** One direction of a link: its condition, what passed, and why something did not. */
function Way({
  word,
  condition,
  activity,
  way,
}: {
  word: string;
  condition: Condition | null;
  activity: LinkActivity | undefined;
  way: "up" | "down";
}) {
  const total = activity?.total[way];
  const recent = activity?.recent?.[way];
  const label = conditionLabel(condition);
  if (!label && !total?.packets && !total?.dropped) return null;
  return (
    <div className="way">
      <p>
        <span className="muted">{word}</span> {label || "clear"}
      </p>
      {total && (
        <dl className="facts">
          <Row name="Packets" value={count(total.packets ?? 0)} />
          <Row name="Bytes" value={bytes(total.bytes ?? 0)} />
          <Row name="Rate" value={recent?.bytes ? bitRate((recent.bytes * 8) / (activity.intervalS || 1)) : null} />
          <Row name="Delay added" value={recent?.delay_ms ? `${recent.delay_ms} ms` : null} />
          <Drops counts={total} />
        </dl>
      )}
    </div>
  );
}

function Drops({ counts }: { counts: Counts }) {
  const others = (["reordered", "duplicated", "corrupted"] as const).filter((name) => counts[name]);
  return (
    <>
      {counts.dropped ? <Row name="Dropped" value={count(counts.dropped)} isBad /> : null}
      {DROP_CAUSES.filter(([cause]) => counts[cause]).map(([cause, words]) => (
        <Row key={cause} name={`  of these: ${words}`} value={count(counts[cause])} />
      ))}
      {others.map((name) => (
        <Row key={name} name={capital(name)} value={count(counts[name])} />
      ))}
    </>
  );
}

function Facts({ facts }: { facts: readonly (readonly [string, string | null | undefined])[] }) {
  return (
    <dl className="facts">
      {facts.map(([name, value]) => (
        <Row key={name} name={name} value={value} />
      ))}
    </dl>
  );
}

function Row({ name, value, isBad = false }: { name: string; value: string | null | undefined; isBad?: boolean }) {
  if (!value) return null;
  return (
    <div>
      <dt>{name}</dt>
      <dd className={isBad ? "is-bad" : undefined}>{value}</dd>
    </div>
  );
}

function Nodes({ title, ids, onSelect }: { title?: string; ids: readonly string[]; onSelect: (id: string) => void }) {
  if (ids.length === 0) return null;
  return (
    <>
      {title && <h3>{title}</h3>}
      <ul className="details-nodes">
        {ids.map((id) => (
          <li key={id}>
            <button type="button" onClick={() => onSelect(id)}>
              {nameOf(id)}
            </button>
          </li>
        ))}
      </ul>
    </>
  );
}

function addressFacts(port: Addresses): readonly (readonly [string, string | null | undefined])[] {
  return [
    ["IPv4", port.ip],
    ["IPv6", port.ip_v6],
    ["Link-local", port.ll_v6],
    ["MAC", port.mac],
  ];
}

function activityOf(link: Link, scene: Scene): LinkActivity | undefined {
  return scene.activity.get(link.counters[0] ?? "");
}

function nameOf(id: string): string {
  const node = nodeOfId(id);
  return node ? (node.kind === "ix" ? "Internet exchange" : node.name) : id;
}

function capital(word: string): string {
  return word.charAt(0).toUpperCase() + word.slice(1);
}
