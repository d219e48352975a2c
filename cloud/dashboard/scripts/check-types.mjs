// Fails when src/api/schema.d.ts is not what openapi-typescript makes of ../api/openapi.json.
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const folder = mkdtempSync(join(tmpdir(), 'fogline-types-'))
try {
  const fresh = join(folder, 'schema.d.ts')
  const tool = join('node_modules', '.bin', 'openapi-typescript')
  execFileSync(tool, ['../api/openapi.json', '-o', fresh], { stdio: 'pipe' })
  if (readFileSync(fresh, 'utf8') !== readFileSync('src/api/schema.d.ts', 'utf8')) {
    console.error('src/api/schema.d.ts is out of date: run `npm run types` and commit the result')
    process.exitCode = 1
  }
} finally {
  rmSync(folder, { recursive: true })
}
