// Preloaded into the README's programs, which run unchanged: connects the databases that they name to this machine.
const dns = require('node:dns')
const net = require('node:net')

const DATABASES =
  /\.(on\.aws|amazonaws\.com|postgres\.database\.azure\.com|sql\.goog|example\.com)$/
const PORTS = [5432, 5439]

const { lookup } = dns
dns.lookup = (hostname, options, callback) => {
  if (!DATABASES.test(hostname)) return lookup(hostname, options, callback)
  const answer = options.all ? [[{ address: '127.0.0.1', family: 4 }]] : ['127.0.0.1', 4]
  process.nextTick(callback, null, ...answer)
}

const { connect } = net.Socket.prototype
net.Socket.prototype.connect = function (...args) {
  // pg (8.23) passes a port and a host, Node's own callers pass one list of arguments.
  if (PORTS.includes(args[0]) && DATABASES.test(args[1])) args[0] = Number(process.env.GATEWAY_PORT)
  const [options] = Array.isArray(args[0]) ? args[0] : args
  if (PORTS.includes(options?.port) && DATABASES.test(options.host))
    options.port = Number(process.env.GATEWAY_PORT)
  return Reflect.apply(connect, this, args)
}
