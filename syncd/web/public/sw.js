// Keeps the page itself, so that it opens with no network. What it shows comes from IndexedDB; nothing of the API goes through here.
const KEPT = 'crdt-conv-page'

// The page that registers this was loaded without it: it is fetched once more, and what it names with it.
const keepPage = async () => {
  const kept = await caches.open(KEPT)
  const response = await fetch('./')
  const named = (await response.clone().text()).match(/assets\/[\w.-]+/g) ?? []
  await kept.put(new URL('./', self.location.href).href, response)
  await kept.addAll([...new Set(named)].map((path) => new URL(path, self.location.href).href))
}

self.addEventListener('install', (event) => {
  self.skipWaiting()
  event.waitUntil(keepPage().catch(() => {}))
})
self.addEventListener('activate', (event) => event.waitUntil(self.clients.claim()))

const isOurs = (url) => {
  const base = new URL('.', self.location.href)
  const path = url.href.slice(base.href.length)
  return url.href.startsWith(base.href) && (url.search === '' && (path === '' || path === 'index.html' || path === 'icon.svg' || path.startsWith('assets/')))
}

// What is called by its content never changes; the page itself is asked for first.
const answer = async (request, url) => {
  const kept = await caches.open(KEPT)
  if (url.pathname.includes('/assets/')) {
    const known = await kept.match(url.href)
    if (known) return known
  }
  try {
    const fresh = await fetch(request)
    if (fresh.ok && fresh.type === 'basic') {
      await kept.put(url.href, fresh.clone())
      if (request.mode === 'navigate') await tidy(kept, await fresh.clone().text(), url)
    }
    return fresh
  } catch (error) {
    const known = await kept.match(url.href)
    if (known) return known
    throw error
  }
}

// What the page of today no longer names goes.
const tidy = async (kept, page, url) => {
  for (const request of await kept.keys()) {
    const path = request.url.slice(new URL('.', url).href.length)
    if (path.startsWith('assets/') && !page.includes(path)) await kept.delete(request)
  }
}

self.addEventListener('fetch', (event) => {
  const url = new URL(event.request.url)
  url.hash = ''
  if (event.request.method === 'GET' && isOurs(url)) event.respondWith(answer(event.request, url))
})
