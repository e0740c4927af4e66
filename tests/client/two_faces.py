"""The blocking and the asyncio client behind one blocking face, so that one test covers both."""

import asyncio

from sadtalker_client import AsyncSadTalkerClient, SadTalkerClient


class Blocking:
    """One client per call, closed after it."""

    def __init__(self, url, **settings):
        self._url, self._settings = url, settings

    def fragments(self, *arguments, **options):
        with SadTalkerClient(self._url, **self._settings) as client:
            return list(client.animate(*arguments, **options))

    def read(self, *arguments, **options):
        with SadTalkerClient(self._url, **self._settings) as client:
            return client.animate(*arguments, **options).read()

    def request_id(self, *arguments, **options):
        """Animate to the end and return the animation's request id."""
        with SadTalkerClient(self._url, **self._settings) as client:
            animation = client.animate(*arguments, **options)
            animation.read()
            return animation.request_id

    def poster(self, *arguments, **options):
        with SadTalkerClient(self._url, **self._settings) as client:
            return client.poster(*arguments, **options)

    def save(self, path, *arguments, on_progress=None, **options):
        with SadTalkerClient(self._url, **self._settings) as client:
            client.animate(*arguments, **options).save(path, on_progress)

    def leave_after_first(self, *arguments, way, while_open):
        """Take one fragment, leave in the given way, and call `while_open` before the client is closed."""
        with SadTalkerClient(self._url, **self._settings) as client:
            animation = client.animate(*arguments)
            if way == "with":
                with animation:
                    next(animation)
            elif way == "cancel":
                next(animation)
                animation.cancel()
            else:
                for _ in animation:
                    break
                del animation
            return while_open()

    def read_after_cancel(self, *arguments):
        with SadTalkerClient(self._url, **self._settings) as client:
            animation = client.animate(*arguments)
            next(animation)
            animation.cancel()
            return animation.read()

    def interleaved(self, first, second):
        """Run two animations of one client, fragment by fragment in turn."""
        with SadTalkerClient(self._url, **self._settings) as client:
            return list(zip(client.animate(*first), client.animate(*second), strict=True))

    def is_ready(self):
        with SadTalkerClient(self._url, **self._settings) as client:
            return client.is_ready()

    def wait_until_ready(self, timeout):
        with SadTalkerClient(self._url, **self._settings) as client:
            client.wait_until_ready(timeout)


class Asynchronous:
    """The same, each call in an event loop of its own."""

    def __init__(self, url, **settings):
        self._url, self._settings = url, settings

    def fragments(self, *arguments, **options):
        async def run(client):
            return [fragment async for fragment in client.animate(*arguments, **options)]

        return self._run(run)

    def read(self, *arguments, **options):
        return self._run(lambda client: client.animate(*arguments, **options).read())

    def request_id(self, *arguments, **options):
        async def run(client):
            animation = client.animate(*arguments, **options)
            await animation.read()
            return animation.request_id

        return self._run(run)

    def poster(self, *arguments, **options):
        return self._run(lambda client: client.poster(*arguments, **options))

    def save(self, path, *arguments, on_progress=None, **options):
        return self._run(lambda client: client.animate(*arguments, **options).save(path, on_progress))

    def leave_after_first(self, *arguments, way, while_open):
        async def run(client):
            animation = client.animate(*arguments)
            if way == "with":
                async with animation:
                    await anext(animation)
            elif way == "cancel":
                await anext(animation)
                animation.cancel()
            else:
                async for _ in animation:
                    break
                del animation
            return await asyncio.to_thread(while_open)

        return self._run(run)

    def read_after_cancel(self, *arguments):
        async def run(client):
            animation = client.animate(*arguments)
            await anext(animation)
            animation.cancel()
            return await animation.read()

        return self._run(run)

    def interleaved(self, first, second):
        async def run(client):
            one, two = client.animate(*first), client.animate(*second)
            return [(fragment, await anext(two)) async for fragment in one]

        return self._run(run)

    def is_ready(self):
        return self._run(lambda client: client.is_ready())

    def wait_until_ready(self, timeout):
        return self._run(lambda client: client.wait_until_ready(timeout))

    def _run(self, use):
        client = AsyncSadTalkerClient(self._url, **self._settings)  # before there is an event loop, as services do

        async def run():
            async with client:
                return await use(client)

        return asyncio.run(run())
