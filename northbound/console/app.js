// The console: four views over the HTTP API. Nothing is kept but what the API answered last.
//
//   refresh ─> cloud (networks, routers, ports ..., chassis) ─> the view that the address names ─> DOM
//
// Elements are made by `h`, which sets text and attributes and never HTML: names are their owners' to choose.

const EVERY_MS = 3000
const MANY = 30 // a network with more ports shows them as dots
const CROWD = 150 // and with more ports in all, every network does
const LINES = 16 // more lines are a tangle: then those of what is chosen are drawn alone

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
    networks: networks.networks, subnets: subnets.subnets, ports: ports.ports, routers: routers.routers.sort(byName),
    groups: groups.security_groups, floating: floating.floatingips,
    chassis: chassis.chassis.map((each) => ({ ...each, id: each.name })),
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
const byName = (a, b) => named(a).localeCompare(named(b), undefined, { numeric: true })
const addresses = (port) => port.fixed_ips.map((ip) => ip.ip_address)
const isRouters = (port) => port.device_owner.startsWith("network:router")
const isGuest = (port) => !port.device_owner.startsWith("network:")
const hostOf = (port) => cloud.chassis.find((each) => [each.name, each.hostname].includes(port["binding:host_id"]))
const isWell = (chassis) => chassis.connected && !chassis.problem && chassis.state === "in step"

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
  const joined = joints()
  const routers = h("div", { class: `routers ${joined.length > LINES ? "" : "joined"}` }, cloud.routers.map((router) =>
    h("div", { class: "router", "data-router": router.id },
      opener("router", router, {}, named(router), router.admin_state_up ? "" : h("small", {}, " down")))))
  const crowded = cloud.ports.filter(isGuest).length > CROWD
  const networks = h("div", { class: "networks" }, ordered(joined).map((network) => card(network, onNetwork.get(network.id), crowded, joined)))
  view.append(strip(), routers, networks)
  requestAnimationFrame(() => link(view, joined))
}

// Which router is on which network.
const joints = () => cloud.ports.filter(isRouters).map((port) => [port.device_id, port.network_id])

function strip() {
  const ports = Map.groupBy(cloud.ports.filter(isGuest), (port) => hostOf(port)?.name)
  return h("div", { class: "hypervisors", role: "group", "aria-label": "Hypervisors" }, h("small", {}, "Hypervisors"),
    cloud.chassis.length ? null : h("small", {}, "none has joined"),
    cloud.chassis.map((each) => {
      const many = ports.get(each.name)?.length ?? 0
      const said = `hypervisor ${each.name}: ${many} ports, ${each.problem || each.state}`
      return opener("chassis", each, { class: `chassis ${isWell(each) ? "" : "failed"}`, title: said, "aria-label": said },
        each.name, h("small", {}, ` ${many}`))
    }))
}

function ordered(joined) {
  // Networks of one router stand together, so that its lines are short.
  const first = new Map()
  for (const [router, network] of joined) {
    const at = cloud.routers.findIndex((each) => each.id === router)
    first.set(network, Math.min(at, first.get(network) ?? Infinity))
  }
  const place = (network) => first.get(network.id) ?? Infinity
  return [...cloud.networks].sort((a, b) => (place(a) === place(b) ? byName(a, b) : place(a) - place(b)))
}

function card(network, ports, crowded, joined) {
  const guests = ports.filter(isGuest).sort(byName)
  const blocks = cloud.subnets.filter((subnet) => subnet.network_id === network.id).map((subnet) => subnet.cidr)
  const many = guests.length > MANY, dots = guests.length && (many || crowded)
  const looks = `network ${many ? "many" : ""} ${dots ? "dots" : ""} ${network["router:external"] ? "external" : ""}`
  const routers = joined.length > LINES ? joined.filter(([, id]) => id === network.id).map(([id]) => cloud.routers.find((each) => each.id === id)) : []
  return h("article", { class: looks, "data-network": network.id },
    h("h2", {}, opener("network", network, {}, named(network)),
      h("small", {}, `${network["provider:network_type"] ?? ""} ${network["provider:segmentation_id"] ?? ""}`)),
    h("small", {}, blocks.join(" ") || "no subnet", network["router:external"] ? " · external" : "",
      routers.filter(Boolean).map((router) => ` · ${named(router)}`)),
    ...(dots ? [h("div", { class: "ports", role: "group", "aria-label": `${guests.length} ports` }, guests.map(chip))] : byHost(guests)),
    dots ? h("small", {}, `${guests.length} ports, ${guests.filter((p) => p.status === "ACTIVE").length} active`) : null)
}

function byHost(guests) {
  const places = [...Map.groupBy(guests, (port) => port["binding:host_id"] ?? "")].sort(([a], [b]) => (a === "") - (b === "") || a.localeCompare(b))
  return places.map(([host, ports]) => h("div", { class: "ports", role: "group", "aria-label": `${ports.length} ports ${host ? `on ${host}` : "not plugged"}` },
    h("small", { class: "at" }, host || "not plugged"), ports.map(chip)))
}

function chip(port) {
  const failed = port["binding:vif_type"] === "binding_failed"
  const looks = failed ? "failed" : port.status === "ACTIVE" ? "" : "down"
  const where = port["binding:host_id"] || "not plugged"
  const said = `${named(port)}: ${addresses(port).join(", ")}, ${failed ? "binding failed" : port.status} on ${where}`
  return opener("port", port, { class: `port ${looks}`, title: said, "aria-label": said }, named(port))
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
    if (joined.length > LINES && ![router, network].includes(chosen?.id)) continue
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
    return h("tr", {}, h("td", {}, each.chassis), h("td", {}, h("strong", {}, each.reason), h("div", { class: "said" }, each.sentence)),
      h("td", { class: "number" }, String(each.packets)), h("td", { class: `number ${more ? "bad" : ""}` }, more ? `+${more}` : ""),
      h("td", {}, each.flow.objects.map((one) => `${one.kind} ${one.name || one.id}`).join(", ") || "of any"),
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
      h("ol", { class: "hops" }, host.hops.map((hop) => h("li", { class: delivered || hop !== answer.hops.at(-1) ? "" : "end" },
        h("code", {}, hop.table), h("span", {}, shortened(hop.words)))))))),
  ]
}

const ID = /([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})/

function shortened(words) {
  // An id is long and says nothing to a person; its start tells it from others, and it is there to be read.
  return words.split(ID).map((part) => (ID.test(part) ? h("abbr", { title: part }, part.slice(0, 8)) : part))
}

// ---- details ------------------------------------------------------------------------------------------------------

function choose(kind, id) {
  chosen = { kind, id }
  for (const element of document.querySelectorAll(".open")) element.classList.toggle("chosen", element.dataset.id === id)
  mark()
  if (current() === "map") requestAnimationFrame(() => link($("view"), joints()))
  drawDetail()
}

async function drawDetail() {
  const aside = $("detail")
  const records = { port: cloud.ports, network: cloud.networks, router: cloud.routers, chassis: cloud.chassis }
  const record = chosen && records[chosen.kind].find((each) => each.id === chosen.id)
  aside.hidden = !record
  if (!record) return
  const close = () => { aside.hidden = true; chosen = null; draw(true) }
  const kind = chosen.kind === "chassis" ? "hypervisor" : chosen.kind
  aside.replaceChildren(h("button", { class: "close", onclick: close, "aria-label": "Close the details" }, "✕"),
    h("h2", {}, `${kind} ${named(record)}`), list(SUMMARIES[chosen.kind](record)), ...(chosen.kind === "port" ? portDetail(record) : []),
    h("details", {}, h("summary", {}, "All attributes"), facts(record)))
  if (chosen.kind === "port") await portFlows(record, aside)
}

// What a person asks first, by kind.
const on = (network) => cloud.ports.filter((port) => port.network_id === network.id && isGuest(port))
const networkOf = (port) => cloud.networks.find((each) => each.id === port.network_id)
const SUMMARIES = {
  port: (port) => [["Status", port.status], ["Addresses", addresses(port).join(", ")], ["MAC", port.mac_address],
    ["Network", networkOf(port) && named(networkOf(port))], ["Hypervisor", port["binding:host_id"] || "not plugged"],
    ["Id", port.id]],
  network: (network) => [["Status", network.admin_state_up ? network.status : "administratively down"],
    ["Type", `${network["provider:network_type"]} ${network["provider:segmentation_id"] ?? ""}`], ["MTU", network.mtu],
    ["Subnets", cloud.subnets.filter((each) => each.network_id === network.id).map((each) => each.cidr).join(", ")],
    ["Ports", `${on(network).length}, ${on(network).filter((port) => port.status === "ACTIVE").length} active`], ["Id", network.id]],
  router: (router) => [["Status", router.admin_state_up ? router.status : "administratively down"],
    ["Networks", cloud.ports.filter((port) => isRouters(port) && port.device_id === router.id && networkOf(port)).map((port) => `${named(networkOf(port))} (${addresses(port).join(", ")})`).join(", ")],
    ["Id", router.id]],
  chassis: (chassis) => [["State", chassis.problem || chassis.state], ["Host", chassis.hostname],
    ["Tunnels", `${chassis.encap_ip ?? "none"} ${chassis.encap_types.join(", ")}`], ["Flows", chassis.flows],
    ["Ports", cloud.ports.filter((port) => isGuest(port) && hostOf(port) === chassis).map(named).join(", ") || "none"],
    ["Advice", chassis.advice]],
}

function list(rows) {
  const shown = rows.filter(([, value]) => value !== null && value !== undefined && value !== "")
  return h("dl", {}, shown.flatMap(([name, value]) => [h("dt", {}, name), h("dd", { class: typeof value === "object" ? "mono" : "" },
    typeof value === "object" ? JSON.stringify(value).replaceAll('"', "").replaceAll(",", ", ") : String(value))]))
}

const facts = (record) => list(Object.entries(record).filter(([name, value]) => !(Array.isArray(value) && !value.length)
  && !["tenant_id", "security_groups", "security_group_rules"].includes(name)))

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
  const where = hostOf(port)
  if (!where) return
  const heading = h("h3", {}, `Flows on ${where.name}`), rows = h("ul", { class: "flows" })
  aside.append(heading, rows)
  try {
    const { flows } = await ask(`/v1/flows/${encodeURIComponent(where.name)}?object=${port.id}${where.connected ? "&counts=true" : ""}`)
    rows.append(...flows.map((flow) => h("li", {}, h("strong", {}, `${flow.table}: ${flow.reason} `),
      h("small", {}, flow.packets === undefined ? "" : `${flow.packets} packets`), h("div", { class: "mono" }, flow.text))))
    heading.textContent = `${flows.length} flows on ${where.name}`
  } catch (error) { rows.append(h("li", { class: "bad" }, error.message)) }
}

// ---- finding ------------------------------------------------------------------------------------------------------

function mark() {
  // What is looked for stands out: by the words of the field, or by what is chosen (the ports of a hypervisor, the networks of a router).
  const wanted = $("find").value.trim().toLowerCase()
  const host = chosen?.kind === "chassis" ? cloud.chassis.find((each) => each.id === chosen.id) : null
  const near = new Set(chosen?.kind === "router" ? joints().filter(([router]) => router === chosen.id).map(([, network]) => network) : [])
  const records = new Map([...cloud.ports, ...cloud.networks, ...cloud.routers, ...cloud.chassis].map((each) => [each.id, each]))
  for (const element of document.querySelectorAll("#view .open")) {
    const record = records.get(element.dataset.id)
    const text = record ? `${record.name} ${record.id} ${record.mac_address ?? ""} ${record.fixed_ips ? addresses(record).join(" ") : ""}`.toLowerCase() : ""
    const here = host ? record?.fixed_ips && hostOf(record) === host : near.has(element.dataset.id)
    const meant = wanted ? text.includes(wanted) : here
    element.classList.toggle("found", Boolean(meant))
    element.classList.toggle("dim", Boolean(wanted ? !meant : host && element.classList.contains("port") && !meant))
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
  if (name === "map") mark()
}

async function turn() {
  const state = $("state")
  try {
    await refresh()
    await draw()
    const late = cloud.chassis.filter((each) => !isWell(each)).length
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
$("find").addEventListener("input", () => { mark(); document.querySelector("#view .found")?.scrollIntoView({ block: "nearest" }) })
addEventListener("keydown", (event) => {
  if (event.key === "/" && !/INPUT|SELECT/.test(document.activeElement.tagName)) { event.preventDefault(); $("find").focus() }
  if (event.key === "Escape" && chosen) { chosen = null; $("detail").hidden = true; draw(true) }
  if (event.key === "Enter" && document.activeElement === $("find")) document.querySelector("#view .found")?.focus()
  if (/^Arrow/.test(event.key) && document.activeElement?.classList.contains("port")) step(event)
})

function step(event) {
  // Arrows walk from port to port; tab goes on through everything.
  const ports = [...document.querySelectorAll("#view .port")], at = ports.indexOf(document.activeElement)
  const next = ports[at + (event.key === "ArrowRight" || event.key === "ArrowDown" ? 1 : -1)]
  if (next) { event.preventDefault(); next.focus() }
}

turn()
