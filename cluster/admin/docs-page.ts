// `/docs`: both APIs' OpenAPI descriptions as a page to browse. Every file comes from this server, and the page may load
// nothing from anywhere else. A browser opens it with the admin token as its password (admission.ts).
import swaggerUi from '@fastify/swagger-ui';
import type { ApiInstance } from '../http/api-server.js';

const PREFIX = '/docs';
const PUBLIC_DESCRIPTION = `${PREFIX}/public.json`;

/** The page's own files only. Its script sets styles on elements and shows images that it holds itself. */
const CONTENT_SECURITY_POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self' data:; " +
  "connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

/** Whether `route` belongs to the page: people come here with a browser. */
export function isDocsPage(route: string): boolean {
  return route === PREFIX || route.startsWith(`${PREFIX}/`);
}

/** `describePublicApi` gives the OpenAPI document of the other port. */
export function addDocsPage(app: ApiInstance, describePublicApi: () => Promise<object>): void {
  app.register(swaggerUi, {
    routePrefix: PREFIX,
    staticCSP: CONTENT_SECURITY_POLICY,
    theme: { title: 'Stampede APIs' },
    uiConfig: {
      // Written by the page's own script, which knows this as the list to choose from.
      urls: [
        { name: 'Admin API', url: `${PREFIX}/json` },
        { name: 'Public API', url: PUBLIC_DESCRIPTION },
      ],
      docExpansion: 'list',
      deepLinking: true,
    },
  });
  let description: Promise<object> | undefined;
  app.get(PUBLIC_DESCRIPTION, { schema: { hide: true } }, async () => (description ??= describePublicApi()));
}
