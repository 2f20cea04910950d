// copy-dynamodb-table copies a table into an empty one. Its pages of 25 items, one after the other, cannot be
// changed; what can be chosen is the client: connections are kept and parameters are not validated.
'use strict'

const http = require('http')
const path = require('path')

const modules = path.join(__dirname, '..', '..', '.node', 'peers', 'node_modules')
process.env.AWS_SDK_JS_SUPPRESS_MAINTENANCE_MODE_MESSAGE = '1'
const { copy } = require(path.join(modules, 'copy-dynamodb-table'))

// As with every contestant: it goes when whoever started it is gone.
process.stdin.on('end', () => process.exit(3)).resume()

const config = {
  endpoint: process.argv[2],
  region: 'us-east-1',
  accessKeyId: 'benchmark',
  secretAccessKey: 'benchmark',
  paramValidation: false,
  httpOptions: { agent: new http.Agent({ keepAlive: true }) }
}
const tables = { source: { tableName: 'primary' }, destination: { tableName: 'copy' } }

copy({ config, ...tables }, (error, result) => {
  if (error) {
    console.error(error)
    process.exit(1)
  }
  console.log(JSON.stringify({ items: result.count, found: {} }))
  process.exit(0)
})
