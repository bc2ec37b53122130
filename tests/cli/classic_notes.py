"""A note program as programs have always been written on this library.

It uses the documented surface and nothing newer: an agent made before the engine is, a model of
classic columns next to :class:`pysyncml.NoteItem`, bodies read when they are dumped, files written
in place, and a scan that registers what it finds. Kept as simple as such programs are.
"""

import hashlib
import os
import sys

import sqlalchemy
from sqlalchemy import orm
from sqlalchemy.orm.exc import NoResultFound

import pysyncml
import pysyncml.cli
from pysyncml import adict


class ClassicEngine(pysyncml.cli.DirectorySyncEngine):
    def __init__(self):
        super().__init__(
            appLabel='notes',
            appDisplay='Classic Notes',
            devinfoParams=dict(
                softwareVersion=pysyncml.versionString,
                manufacturerName='pysyncml',
                modelName='classic',
            ),
            agent=ClassicAgent(self),
        )

    @pysyncml.cli.hook('describe')
    def tell(self, stream):
        stream.write('Filenames: %s\n' % ('yes' if self.options.syncFilename else 'no'))

    @pysyncml.cli.hook('options.setup.term')
    def add_option(self):
        self.parser.add_argument(
            '-F', '--no-filename-sync', dest='syncFilename', default=True, action='store_false'
        )
        self.parser.description = 'Classic notes.'

    @pysyncml.cli.hook('options.persist.save')
    def keep_option(self, options):
        options['syncFilename'] = self.options.syncFilename

    @pysyncml.cli.hook('model.setup.extend')
    def make_model(self):
        engine = self

        class NoteItem(engine.model.DatabaseObject, pysyncml.NoteItem):
            inode = sqlalchemy.Column(sqlalchemy.Integer, index=True)
            name = sqlalchemy.Column(sqlalchemy.String)
            sha256 = sqlalchemy.Column(sqlalchemy.String(64))
            lastmod = sqlalchemy.Column(sqlalchemy.Integer)

            def __init__(self, *args, **kw):
                engine.model.DatabaseObject.__init__(self, *args, **kw)
                columns = self.__table__.c.keys()
                rest = {key: value for key, value in kw.items() if key not in columns}
                pysyncml.Ext.__init__(self, *args, **rest)

            @orm.reconstructor
            def __dbinit__(self):
                pysyncml.Ext.__init__(self)

            def __str__(self):
                return 'Note "%s"' % (self.name,)

            def dump(self, stream, contentType, version):
                with open(os.path.join(engine.rootDir, self.name), 'rb') as fp:
                    self.body = fp.read()
                pysyncml.NoteItem.dump(self, stream, contentType, version)
                self.body = None
                return self

            @classmethod
            def load(cls, stream, contentType=None, version=None):
                base = pysyncml.NoteItem.load(stream, contentType, version)
                note = NoteItem(name=base.name, sha256=hashlib.sha256(base.body).hexdigest())
                note.body = base.body
                return note

        self.model.NoteItem = NoteItem

    @pysyncml.cli.hook('adapter.create.store')
    def look(self, context, adapter, store):
        self.agent.scan(store)


class ClassicAgent(pysyncml.BaseNoteAgent):
    def __init__(self, engine, *args, **kw):
        super().__init__(*args, **kw)
        self.engine = engine
        self.mfactory = pysyncml.CompositeMergerFactory(
            mergers=dict(body=pysyncml.TextMergerFactory())
        )
        self.contentTypes = [
            pysyncml.ContentTypeInfo(pysyncml.TYPE_SIF_NOTE, '1.1', preferred=True),
            pysyncml.ContentTypeInfo(pysyncml.TYPE_TEXT_PLAIN, '1.0'),
        ]

    def path(self, name):
        return os.path.join(self.engine.rootDir, name)

    def files(self):
        for name in os.listdir(self.engine.rootDir):
            if os.path.isfile(self.path(name)):
                with open(self.path(name), 'rb') as fp:
                    digest = hashlib.sha256(fp.read()).hexdigest()
                yield adict(
                    name=name, inode=os.stat(self.path(name)).st_ino, sha256=digest, lastmod=None
                )

    def scan(self, store):
        known = {note.name: note for note in self.engine.model.NoteItem.q()}
        for found in self.files():
            note = known.pop(found.name, None)
            if note is None:
                note = self.engine.model.NoteItem()
                self.engine.dbsession.add(note)
                store.registerChange(note.id, pysyncml.ITEM_ADDED)
            elif note.sha256 != found.sha256:
                store.registerChange(note.id, pysyncml.ITEM_MODIFIED)
            for key, value in found.items():
                setattr(note, key, value)
        for note in known.values():
            store.registerChange(note.id, pysyncml.ITEM_DELETED)
            self.engine.dbsession.delete(note)

    def getAllItems(self):
        yield from self.engine.model.NoteItem.q()

    def dumpItem(self, item, stream, contentType=None, version=None):
        item.dump(stream, contentType, version)

    def loadItem(self, stream, contentType=None, version=None):
        return self.engine.model.NoteItem.load(stream, contentType, version)

    def getItem(self, itemID):
        try:
            return self.engine.model.NoteItem.q(id=itemID).one()
        except NoResultFound:
            raise pysyncml.InvalidItem('no note has the ID "%s"' % (itemID,)) from None

    def addItem(self, item):
        stem, suffix = os.path.splitext(item.name)
        count = 0
        while os.path.exists(self.path(item.name)):
            count += 1
            item.name = '%s(%d)%s' % (stem, count, suffix)
        with open(self.path(item.name), 'wb') as fp:
            fp.write(item.body)
        item.inode = os.stat(self.path(item.name)).st_ino
        delattr(item, 'body')
        self.engine.dbsession.add(item)
        return item

    def replaceItem(self, item, reportChanges):
        current = self.getItem(item.id)
        old = self.path(current.name)
        with open(old, 'rb') as fp:
            before = adict(name=current.name, body=fp.read())
        with open(self.path(item.name), 'wb') as fp:
            fp.write(item.body)
        if item.name != current.name:
            os.unlink(old)
        spec = None
        if reportChanges:
            merger = self.mfactory.newMerger()
            merger.pushChange('name', before.name, item.name)
            merger.pushChange('body', before.body, item.body)
            spec = merger.getChangeSpec()
        current.name = item.name
        current.sha256 = hashlib.sha256(item.body).hexdigest()
        return spec

    def deleteItem(self, itemID):
        item = self.getItem(itemID)
        if os.path.exists(self.path(item.name)):
            os.unlink(self.path(item.name))
        self.engine.dbsession.delete(item)

    def mergeItems(self, localItem, remoteItem, changeSpec):
        with open(self.path(localItem.name), 'rb') as fp:
            mine = fp.read()
        merger = self.mfactory.newMerger(changeSpec)
        name = merger.mergeChanges('name', localItem.name, remoteItem.name)
        body = merger.mergeChanges('body', mine, remoteItem.body)
        merged = pysyncml.NoteItem(name=name, body=body)
        merged.id = localItem.id
        return self.replaceItem(merged, True)


def main(argv=None):
    return ClassicEngine().configure(argv).run()


if __name__ == '__main__':
    sys.exit(main())
