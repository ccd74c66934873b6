// Preloaded into the README's programs: the databases that they name answer on this machine. Nothing of the programs is changed.
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
  // Node's own callers hand their arguments over as one list.
  const [options] = Array.isArray(args[0]) ? args[0] : args
  if (PORTS.includes(options?.port) && DATABASES.test(options.host))
    options.port = Number(process.env.GATEWAY_PORT)
  return Reflect.apply(connect, this, args)
}
