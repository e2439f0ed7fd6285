// A real browser, driven over standard input: one JSON command a line, one JSON answer a line.
//
//     node browser.mjs CHROMIUM
//
// It says {"url"} first: where a server of its own has an empty page. Every name that ends in .example is this machine's.
//
//     {"do": "open", "page", "url"}             a new page with storage and network of its own, and the client in it
//     {"do": "rebind", "page", "url"}           the same, but the page itself comes from elsewhere: only then its name is ours
//     {"do": "call", "page", "call", "with"}    call what page.mjs defines
//     {"do": "until", "page", "has"}            answer with the client's state once it has all that "has" says
//     {"do": "offline", "page", "is"}           cut it off from the network, and let half a minute of its own time pass; or end that
import { createServer } from 'node:http'
import { createInterface } from 'node:readline'
import { build } from 'esbuild'
import { chromium } from 'playwright-core'

const EMPTY = '<!doctype html><title>page</title>'
const here = new URL('.', import.meta.url).pathname
const bundle = await build({ entryPoints: [`${here}page.mjs`], bundle: true, write: false, format: 'iife', logLevel: 'error' })
const script = bundle.outputFiles[0].text

const server = createServer((_, response) => {
  response.writeHead(200, { 'content-type': 'text/html' })
  response.end(EMPTY)
}).listen(0, '127.0.0.1')
await new Promise((resolve) => server.once('listening', resolve))

// Nothing but what the tests ask for: a browser by itself looks up its maker's hosts.
const browser = await chromium.launch({
  executablePath: process.argv[2],
  args: [
    '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync', '--disable-default-apps', '--no-proxy-server',
    // Newer ones guard this machine's network themselves; what is tested is the guard that older ones need.
    '--disable-features=LocalNetworkAccessChecks,LocalNetworkAccessChecksWebSockets',
    '--host-resolver-rules=MAP *.example 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost'
  ]
})

const pages = {}
const open = async ({ page: name, url }, isElsewhere = false) => {
  // A name is used again by the next test: what the page before it does is over.
  await pages[name]?.context().close()
  const context = await browser.newContext({ bypassCSP: true }) // a client is put into the daemon's own page, too
  await context.clock.install()
  const page = await context.newPage()
  if (isElsewhere) await page.route(url, (route) => route.fulfill({ contentType: 'text/html', body: EMPTY }), { times: 1 })
  await page.goto(url)
  await page.addScriptTag({ content: script })
  pages[name] = page
}

const has = (state, wanted) => Object.entries(wanted).every(([key, value]) => JSON.stringify(state[key]) === JSON.stringify(value))

const answers = {
  open: (command) => open(command),
  rebind: (command) => open(command, true),
  call: ({ page, call, with: given }) => pages[page].evaluate(([call, given]) => window.client[call](...given), [call, given]),
  until: async ({ page, has: wanted }) => {
    for (;;) {
      const state = await pages[page].evaluate(() => window.client.state())
      if (has(state, wanted)) return state
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  },
  offline: async ({ page, is }) => {
    await pages[page].context().setOffline(is)
    // Nothing tells a page that its sockets are dead: providers find out when nothing has come for half a minute.
    if (is) await pages[page].clock.fastForward(35_000)
  }
}

const say = (answer) => process.stdout.write(JSON.stringify(answer) + '\n')
say({ url: `http://127.0.0.1:${server.address().port}` })
for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line)
  say({ result: await answers[command.do](command) ?? null })
}
await browser.close()
process.exit(0)
