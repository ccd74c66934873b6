/** Runs the dashboard in a process of its own, whose clock and identity provider the test controls: messages `{ id, command, value }`. */
let offsetMs = 0
const { now } = Date
Date.now = () => now() + offsetMs
// As in the example: for Node 20 the AWS SDK warns of its end.
process.env.AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED = 'true'

const { start } = await import(
  new URL('../../build/examples/redshift-dashboard/server.js', import.meta.url)
)
const dashboard = await start(JSON.parse(process.argv[2]))

const COMMANDS = {
  advance(ms) {
    offsetMs += ms
  },
  revokeGrants: () => dashboard.identityProvider.revokeGrants(),
  stopProvider: () => dashboard.identityProvider.close(),
  connections: () => dashboard.gateway.stats().connectionsOpen,
}
process.on('message', ({ id, command, value }) => {
  void Promise.resolve(COMMANDS[command](value)).then((result) => process.send({ id, result }))
})
process.send({ url: dashboard.url })
