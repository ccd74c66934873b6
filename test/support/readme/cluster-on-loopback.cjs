// Preloaded into the README's programs: the cluster that they name answers on this machine. Nothing of them is changed.
const dns = require('node:dns')

const { lookup } = dns
dns.lookup = (hostname, options, callback) => {
  if (!hostname.endsWith('.on.aws')) return lookup(hostname, options, callback)
  const answer = options.all ? [[{ address: '127.0.0.1', family: 4 }]] : ['127.0.0.1', 4]
  process.nextTick(callback, null, ...answer)
}
