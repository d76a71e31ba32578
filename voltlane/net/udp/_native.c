/* The loops for datagrams in C: peers and channels, a batch a system call. The interpreter's lock is held throughout,
 * since no call waits. native.py hands over what is Python's.
 */
#include "_native.h"

PyObject *received_type, *opened_type, *sent_type, *reasons[DROPS];
uint64_t secret[2] = {1, 1};
static int begun;

void use_sodium(void *seal, void *open);

PyDoc_STRVAR(begin_doc, "begin(results, reasons, secret, seal, open): what native.py has to say, once.");

static PyObject *begin(PyObject *module, PyObject *args)
{
    (void)module;
    PyObject *results, *given, *seal, *open;
    const char *bytes;
    Py_ssize_t size;
    if (!PyArg_ParseTuple(args, "O!O!y#OO:begin", &PyTuple_Type, &results, &PyTuple_Type, &given, &bytes, &size, &seal,
                          &open))
        return NULL;
    if (PyTuple_GET_SIZE(results) != 3 || PyTuple_GET_SIZE(given) != DROPS || size != sizeof secret)
        return PyErr_Format(PyExc_ValueError, "3 results, %d reasons and %zu bytes are needed", DROPS, sizeof secret);
    void *seal_at = PyLong_AsVoidPtr(seal), *open_at = PyErr_Occurred() ? NULL : PyLong_AsVoidPtr(open);
    if (PyErr_Occurred())
        return NULL;
    PyObject **to[] = {&received_type, &opened_type, &sent_type};
    for (Py_ssize_t n = 0; n < 3; n++) {
        PyObject *one = PyTuple_GET_ITEM(results, n), *before = *to[n];
        Py_INCREF(one);
        *to[n] = one;
        Py_XDECREF(before);
    }
    for (Py_ssize_t n = 0; n < DROPS; n++) {
        PyObject *one = PyTuple_GET_ITEM(given, n), *before = reasons[n];
        Py_INCREF(one);
        reasons[n] = one;
        Py_XDECREF(before);
    }
    if (!begun) { /* tables that there are go by it */
        memcpy(secret, bytes, sizeof secret);
        secret[1] |= 1;
        begun = 1;
    }
    use_sodium(seal_at, open_at);
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {{"begin", begin, METH_VARARGS, begin_doc}, {0}};

static struct PyModuleDef module_def = {
    PyModuleDef_HEAD_INIT,
    .m_name = "_native",
    .m_doc = "The loops of plain.py and sealed.py in C; the tables work once begin was called.",
    .m_size = -1,
    .m_methods = methods,
};

PyMODINIT_FUNC PyInit__native(void)
{
    static const struct {
        const char *name;
        PyTypeObject *type;
    } types[] = {
        {"Party", &party_type},
        {"Table", &table_type},
        {"Peer", &peer_type},
        {"Peers", &peers_type},
        {"Channel", &channel_type},
        {"Channels", &channels_type},
    };
    PyObject *module = PyModule_Create(&module_def);
    for (size_t n = 0; module && n < sizeof types / sizeof *types; n++) {
        if (PyType_Ready(types[n].type) < 0) {
            Py_CLEAR(module);
            break;
        }
        Py_INCREF(types[n].type);
        if (PyModule_AddObject(module, types[n].name, (PyObject *)types[n].type) < 0) {
            Py_DECREF(types[n].type);
            Py_CLEAR(module);
        }
    }
    return module;
}
