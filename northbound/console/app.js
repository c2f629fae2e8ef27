// The console: four views over the HTTP API. Nothing is kept but what the API answered last.
//
//   refresh ─> cloud (networks, routers, ports ..., chassis) ─> the view that the address names ─> DOM
//
// Elements are made by `h`, which sets text and attributes and never HTML: names are their owners' to choose.

const EVERY_MS = 3000
const MANY = 30 // a network with more ports shows them as dots

const cloud = { networks: [], subnets: [], ports: [], routers: [], groups: [], floating: [], chassis: [], strangers: [] }
let chosen = null // { kind, id }
let drawn = "" // what the view was drawn from, so that nothing is drawn anew for nothing
const $ = (id) => document.getElementById(id)

// ---- asking -----------------------------------------------------------------------------------------------------

class Refused extends Error {}

async function ask(path, body) {
  const token = sessionStorage.getItem("token")
  const headers = { "Content-Type": "application/json", ...(token ? { "X-Auth-Token": token } : {}) }
  const sent = body === undefined ? {} : { method: "POST", body: JSON.stringify(body) }
  const answer = await fetch(path, { headers, ...sent })
  if (answer.status === 401) await login()
  if (!answer.ok) {
    const told = await answer.json().catch(() => null)
    throw new Refused(told?.NeutronError?.message ?? `the controller answered ${answer.status}`)
  }
  return answer.json()
}

async function login() {
  const dialog = $("login")
  if (!dialog.open) dialog.showModal()
  await new Promise((closed) => dialog.addEventListener("close", closed, { once: true }))
  sessionStorage.setItem("token", $("token").value)
  throw new Refused("the token is tried")
}

async function refresh() {
  const [networks, subnets, ports, routers, groups, floating, chassis] = await Promise.all([
    ask("/v2.0/networks"), ask("/v2.0/subnets"), ask("/v2.0/ports"), ask("/v2.0/routers"),
    ask("/v2.0/security-groups"), ask("/v2.0/floatingips"), ask("/v1/chassis"),
  ])
  Object.assign(cloud, {
    networks: networks.networks, subnets: subnets.subnets, ports: ports.ports, routers: routers.routers,
    groups: groups.security_groups, floating: floating.floatingips, chassis: chassis.chassis,
    strangers: chassis.strangers,
  })
}

// ---- making elements ----------------------------------------------------------------------------------------------

function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag)
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value)
    else if (value === true) element.setAttribute(name, "")
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value)
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false))
  return element
}

const named = (record) => record.name || record.id.slice(0, 8)
const addresses = (port) => port.fixed_ips.map((ip) => ip.ip_address)
const isRouters = (port) => port.device_owner.startsWith("network:router")
const isGuest = (port) => !port.device_owner.startsWith("network:")
const by = (records) => new Map(records.map((record) => [record.id, record]))

function opener(kind, record, attributes, ...children) {
  const isChosen = chosen && chosen.id === record.id
  const { class: looks, ...rest } = attributes
  return h("button", {
    type: "button", class: `open ${looks ?? ""} ${isChosen ? "chosen" : ""}`, "data-id": record.id,
    onclick: () => choose(kind, record.id), ...rest,
  }, ...children)
}

// ---- the map ------------------------------------------------------------------------------------------------------

function drawMap(view) {
  if (!cloud.networks.length) {
    view.append(h("p", { class: "empty" }, "There is no network yet. Make one through the Networking API: ",
      h("code", {}, "openstack network create red"), ", or apply a file: ", h("code", {}, "weft apply topology.yaml"), "."))
    return
  }
  const onNetwork = new Map(cloud.networks.map((network) => [network.id, []]))
  for (const port of cloud.ports) onNetwork.get(port.network_id)?.push(port)
  const joined = cloud.ports.filter(isRouters).map((port) => [port.device_id, port.network_id])
  const routers = h("div", { class: "routers" }, cloud.routers.map((router) =>
    h("div", { class: "router", "data-router": router.id },
      opener("router", router, {}, named(router), router.admin_state_up ? "" : h("small", {}, " down")))))
  const networks = h("div", { class: "networks" }, ordered(joined).map((network) => card(network, onNetwork.get(network.id))))
  view.append(routers, networks)
  requestAnimationFrame(() => link(view, joined))
}

function ordered(joined) {
  // Networks of one router stand together, so that its lines are short.
  const first = new Map()
  for (const [router, network] of joined) {
    const at = cloud.routers.findIndex((each) => each.id === router)
    first.set(network, Math.min(at, first.get(network) ?? Infinity))
  }
  const place = (network) => first.get(network.id) ?? Infinity
  return [...cloud.networks].sort((a, b) => (place(a) === place(b) ? named(a).localeCompare(named(b)) : place(a) - place(b)))
}

function card(network, ports) {
  const guests = ports.filter(isGuest).sort((a, b) => named(a).localeCompare(named(b)))
  const blocks = cloud.subnets.filter((subnet) => subnet.network_id === network.id).map((subnet) => subnet.cidr)
  const looks = `network ${guests.length > MANY ? "many" : ""} ${network["router:external"] ? "external" : ""}`
  return h("article", { class: looks, "data-network": network.id },
    h("h2", {}, opener("network", network, {}, named(network)),
      h("small", {}, `${network["provider:network_type"] ?? ""} ${network["provider:segmentation_id"] ?? ""}`)),
    h("small", {}, blocks.join(" ") || "no subnet", network["router:external"] ? " · external" : ""),
    h("div", { class: "ports", role: "list", "aria-label": `${guests.length} ports` }, guests.map(chip)),
    guests.length > MANY ? h("small", {}, `${guests.length} ports, ${guests.filter((p) => p.status === "ACTIVE").length} active`) : null)
}

function chip(port) {
  const failed = port["binding:vif_type"] === "binding_failed"
  const looks = failed ? "failed" : port.status === "ACTIVE" ? "" : "down"
  const where = port["binding:host_id"] || "not plugged"
  const said = `${named(port)}: ${addresses(port).join(", ")}, ${failed ? "binding failed" : port.status} on ${where}`
  return opener("port", port, { class: `port ${looks}`, title: said, "aria-label": said, role: "listitem" }, named(port))
}

function link(view, joined) {
  view.querySelector("svg.links")?.remove()
  const base = view.getBoundingClientRect()
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg")
  svg.setAttribute("class", "links")
  svg.setAttribute("aria-hidden", "true")
  svg.setAttribute("width", view.scrollWidth)
  svg.setAttribute("height", view.scrollHeight)
  for (const [router, network] of joined) {
    const one = view.querySelector(`[data-router="${router}"]`)?.getBoundingClientRect()
    const other = view.querySelector(`[data-network="${network}"]`)?.getBoundingClientRect()
    if (!one || !other) continue
    const x = one.x + one.width / 2 - base.x + view.scrollLeft, y = one.bottom - base.y + view.scrollTop
    const u = other.x + other.width / 2 - base.x + view.scrollLeft, v = other.top - base.y + view.scrollTop
    const path = document.createElementNS("http://www.w3.org/2000/svg", "path")
    path.setAttribute("d", `M${x},${y} C${x},${y + 40} ${u},${v - 40} ${u},${v}`)
    svg.append(path)
  }
  view.prepend(svg)
}

// ---- hypervisors --------------------------------------------------------------------------------------------------

function drawHypervisors(view) {
  const ports = Map.groupBy(cloud.ports.filter(isGuest), (port) => port["binding:host_id"])
  const rows = cloud.chassis.map((each) => h("tr", {},
    h("td", {}, each.name, each.hostname && each.hostname !== each.name ? h("div", { class: "mono" }, each.hostname) : null),
    h("td", { class: each.problem || !each.connected ? "bad" : each.state === "in step" ? "good" : "warm" }, each.state,
      each.problem ? h("div", {}, each.problem) : null),
    h("td", { class: "mono" }, each.encap_ip ?? "", " ", each.encap_types.join(", ")),
    h("td", { class: "number" }, String(ports.get(each.name)?.length ?? 0)),
    h("td", { class: "number" }, String(each.flows)),
    h("td", { class: `number ${each.foreign_flows ? "warm" : ""}` }, String(each.foreign_flows))))
  view.append(table(["Hypervisor", "State", "Tunnels", "Ports#", "Flows#", "Foreign#"], rows,
    "No hypervisor has joined. Run on one: weft attach CONTROLLER"))
  if (cloud.strangers.length) {
    view.append(h("h3", {}, "Connected, and no hypervisor"), h("ul", {}, cloud.strangers.map((each) => h("li", {}, `${each.address}: ${each.reason}`))))
  }
}

function table(heads, rows, empty) {
  if (!rows.length) return h("p", { class: "empty" }, empty)
  const head = (text) => h("th", { scope: "col", class: text.endsWith("#") ? "number" : "" }, text.replace("#", ""))
  return h("table", {}, h("thead", {}, h("tr", {}, heads.map(head))), h("tbody", {}, rows))
}

// ---- drops --------------------------------------------------------------------------------------------------------

let counted = new Map() // what each flow had counted when it was last asked

async function drawDrops(view) {
  const { drops } = await ask("/v1/drops")
  const before = counted
  counted = new Map(drops.map((each) => [each.chassis + each.flow.cookie, each.packets]))
  const rows = drops.slice(0, 200).map((each) => {
    const more = each.packets - (before.get(each.chassis + each.flow.cookie) ?? each.packets)
    return h("tr", {}, h("td", {}, each.chassis), h("td", {}, each.reason),
      h("td", { class: "number" }, String(each.packets)), h("td", { class: `number ${more ? "bad" : ""}` }, more ? `+${more}` : ""),
      h("td", {}, each.flow.objects.map((one) => `${one.kind} ${one.name || one.id}`).join(", ") || "any"),
      h("td", { class: "mono" }, `${each.flow.table}: ${each.flow.reason}`))
  })
  view.replaceChildren(table(["Hypervisor", "Reason", "Packets#", "New#", "Whose", "Decided in"], rows, "Nothing was dropped."))
}

// ---- trace --------------------------------------------------------------------------------------------------------

function drawTrace(view) {
  const guests = cloud.ports.filter(isGuest)
  const options = (selected) => guests.map((port) => h("option", { value: port.id, selected: port.id === selected },
    `${named(port)} ${addresses(port)[0] ?? ""}`))
  const result = h("div", { id: "way", "aria-live": "polite" })
  const form = h("form", { class: "ask", onsubmit: async (event) => {
    event.preventDefault()
    const given = new FormData(form)
    const asked = { from: given.get("from"), to: given.get("to"), proto: given.get("proto") }
    if (given.get("dport")) asked.dport = Number(given.get("dport"))
    try { result.replaceChildren(...way(await ask("/v1/trace", asked))) }
    catch (error) { result.replaceChildren(h("p", { class: "bad" }, error.message)) }
  } },
  h("label", {}, "From", h("select", { name: "from", id: "from" }, options(chosen?.id))),
  h("label", {}, "To: an address, or a port's name or id", h("input", { name: "to", id: "to", required: true, list: "targets" })),
  h("datalist", { id: "targets" }, guests.flatMap((port) => addresses(port).map((ip) => h("option", { value: ip }, named(port))))),
  h("label", {}, "Protocol", h("select", { name: "proto" }, ["icmp", "tcp", "udp", "sctp"].map((name) => h("option", {}, name)))),
  h("label", {}, "Port", h("input", { name: "dport", inputmode: "numeric", size: 6, pattern: "[0-9]*" })),
  h("button", {}, "Trace"))
  view.append(form, result)
}

function way(answer) {
  const hosts = []
  for (const hop of answer.hops) {
    if (!hosts.length || hosts.at(-1).name !== hop.chassis) hosts.push({ name: hop.chassis, hops: [] })
    hosts.at(-1).hops.push(hop)
  }
  const delivered = answer.fate === "delivered"
  const late = Object.entries(answer.behind ?? {}).map(([name, state]) => h("p", { class: "warm" }, `${name} may not hold all of this: ${state}`))
  return [
    h("p", { class: `fate ${delivered ? "good" : "bad"}` }, delivered ? "delivered" : `dropped: ${answer.reason} ${answer.sentence}`),
    ...late,
    h("ol", { class: "way" }, hosts.map((host) => h("li", { class: "host" }, h("strong", {}, host.name),
      h("ol", { class: "hops" }, host.hops.map((hop) => h("li", {}, h("code", {}, hop.table), h("span", {}, hop.words))))))),
  ]
}

// ---- details ------------------------------------------------------------------------------------------------------

function choose(kind, id) {
  chosen = { kind, id }
  for (const element of document.querySelectorAll(".open")) element.classList.toggle("chosen", element.dataset.id === id)
  drawDetail()
}

async function drawDetail() {
  const aside = $("detail")
  const records = { port: cloud.ports, network: cloud.networks, router: cloud.routers }
  const record = chosen && records[chosen.kind].find((each) => each.id === chosen.id)
  aside.hidden = !record
  if (!record) return
  const close = () => { aside.hidden = true; chosen = null; draw(true) }
  aside.replaceChildren(h("button", { class: "close", onclick: close, "aria-label": "Close the details" }, "✕"),
    h("h2", {}, `${chosen.kind} ${named(record)}`), facts(record), ...(chosen.kind === "port" ? portDetail(record) : []))
  if (chosen.kind === "port") await portFlows(record, aside)
}

function facts(record) {
  const shown = Object.entries(record).filter(([name, value]) => value !== null && value !== "" && !(Array.isArray(value) && !value.length)
    && !["tenant_id", "security_groups", "security_group_rules"].includes(name))
  return h("dl", {}, shown.flatMap(([name, value]) => [h("dt", {}, name), h("dd", { class: typeof value === "string" ? "" : "mono" },
    typeof value === "object" ? JSON.stringify(value).replaceAll('"', "").replaceAll(",", ", ") : String(value))]))
}

function portDetail(port) {
  const groups = cloud.groups.filter((group) => port.security_groups.includes(group.id))
  const rules = (group) => group.security_group_rules.map((rule) => h("li", {}, [rule.direction, rule.ethertype, rule.protocol ?? "any",
    rule.port_range_min === null ? "" : `${rule.port_range_min}–${rule.port_range_max}`,
    rule.remote_ip_prefix ?? (rule.remote_group_id ? `from group ${rule.remote_group_id.slice(0, 8)}` : "")].join(" ")))
  const floating = cloud.floating.filter((each) => each.port_id === port.id)
  return [
    h("h3", {}, "Security groups"),
    ...(groups.length ? groups.map((group) => h("details", {}, h("summary", {}, named(group)), h("ul", {}, rules(group)))) : [h("p", { class: "empty" }, port.port_security_enabled ? "None: nothing is allowed." : "No port security: nothing is filtered.")]),
    ...(floating.length ? [h("h3", {}, "Floating IPs"), h("p", {}, floating.map((each) => `${each.floating_ip_address} (${each.status})`).join(", "))] : []),
    h("p", {}, h("a", { href: "#trace", onclick: () => {} }, "Trace a packet from this port")),
  ]
}

async function portFlows(port, aside) {
  const where = cloud.chassis.find((each) => each.name === port["binding:host_id"] || each.hostname === port["binding:host_id"])
  if (!where) return
  const heading = h("h3", {}, `Flows on ${where.name}`), list = h("ul", { class: "flows" })
  aside.append(heading, list)
  try {
    const { flows } = await ask(`/v1/flows/${encodeURIComponent(where.name)}?object=${port.id}${where.connected ? "&counts=true" : ""}`)
    list.append(...flows.map((flow) => h("li", {}, h("strong", {}, `${flow.table}: ${flow.reason} `),
      h("small", {}, flow.packets === undefined ? "" : `${flow.packets} packets`), h("div", { class: "mono" }, flow.text))))
    heading.textContent = `${flows.length} flows on ${where.name}`
  } catch (error) { list.append(h("li", { class: "bad" }, error.message)) }
}

// ---- finding ------------------------------------------------------------------------------------------------------

function find() {
  const wanted = $("find").value.trim().toLowerCase()
  for (const element of document.querySelectorAll("#view .open")) {
    const record = [...cloud.ports, ...cloud.networks, ...cloud.routers].find((each) => each.id === element.dataset.id)
    const text = record ? `${record.name} ${record.id} ${record.mac_address ?? ""} ${record.fixed_ips ? addresses(record).join(" ") : ""}`.toLowerCase() : ""
    element.classList.toggle("found", Boolean(wanted) && text.includes(wanted))
    element.classList.toggle("dim", Boolean(wanted) && !text.includes(wanted))
  }
}

// ---- the page -----------------------------------------------------------------------------------------------------

const VIEWS = { map: drawMap, hypervisors: drawHypervisors, trace: drawTrace, drops: drawDrops }
const current = () => (location.hash.slice(1) in VIEWS ? location.hash.slice(1) : "map")

async function draw(anew = false) {
  const name = current(), now = JSON.stringify([name, cloud])
  for (const each of document.querySelectorAll("nav a")) {
    if (each.dataset.view === name) each.setAttribute("aria-current", "page")
    else each.removeAttribute("aria-current")
  }
  if (name === "drops") return drawDrops($("view"))
  if (!anew && (now === drawn || (name === "trace" && $("way")))) return
  drawn = now
  const view = $("view"), focused = document.activeElement?.dataset?.id, { scrollTop, scrollLeft } = view
  view.replaceChildren()
  await VIEWS[name](view)
  view.scrollTo(scrollLeft, scrollTop)
  if (focused) view.querySelector(`[data-id="${focused}"]`)?.focus()
  if (name === "map") find()
}

async function turn() {
  const state = $("state")
  try {
    await refresh()
    await draw()
    const late = cloud.chassis.filter((each) => !each.connected || each.problem || each.state !== "in step").length
    state.className = late ? "bad" : ""
    state.textContent = late ? `${late} of ${cloud.chassis.length} hypervisors not in step` : `${cloud.chassis.length} hypervisors in step`
  } catch (error) {
    state.className = "bad"
    state.textContent = error instanceof Refused ? error.message : "the controller does not answer"
  }
  setTimeout(turn, EVERY_MS)
}

addEventListener("hashchange", () => draw(true).catch((error) => { $("state").textContent = error.message }))
new ResizeObserver(() => { if (current() === "map") draw(true) }).observe($("view"))
$("find").addEventListener("input", find)
addEventListener("keydown", (event) => {
  if (event.key === "/" && !/INPUT|SELECT/.test(document.activeElement.tagName)) { event.preventDefault(); $("find").focus() }
  if (event.key === "Escape" && chosen) { chosen = null; $("detail").hidden = true; draw(true) }
  if (/^Arrow/.test(event.key) && document.activeElement?.classList.contains("port")) step(event)
})

function step(event) {
  // Arrows walk from port to port; tab goes on through everything.
  const ports = [...document.querySelectorAll("#view .port")], at = ports.indexOf(document.activeElement)
  const next = ports[at + (event.key === "ArrowRight" || event.key === "ArrowDown" ? 1 : -1)]
  if (next) { event.preventDefault(); next.focus() }
}

turn()
