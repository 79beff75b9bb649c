using System.Buffers.Binary;
using System.Runtime.InteropServices;
using FedLearn.Diagnostics;

namespace FedLearn.Baselines.HomomorphicEncryption;

/// <summary>What the C export library of Microsoft SEAL (<c>libsealc</c>, 4.4 or later in 4.x) offers, as far as <see cref="NativeSealEngine"/> needs it.</summary>
/// <remarks>Functions are looked up by name as the library is bound, so that one which is missing is an error with an id there, not a crash later. Each returns an
/// HRESULT in its low 32 bits, 0 for success; C++ exceptions have become one of a few codes.</remarks>
internal sealed unsafe class SealC
{
    // The first minor version whose evaluation and loading are safe against what a peer may send (SEAL's list of changes, 4.4.0: critical security update).
    private const int Major = 4, LeastMinor = 4;
    private const string Place = "native SEAL";

    // SEAL's serialised form (serialization.h): a header of 16 bytes, [0..2) magic, [2] its size, [3] major, [4] minor version, [5] compression, [8..16) size of
    // the object with its header. Inside a ciphertext and a public key the residues begin a header of their own at byte 89, inside a plaintext at byte 64; a seed
    // has one too and follows them. 4.1 and 4.4 write the same form under different numbers, and 4.1 accepts its own number only, while 4.4 accepts both.
    private const int CiphertextParts = 89, PlaintextParts = 64, HeaderBytes = 16;
    private const byte WrittenMajor = 4, WrittenMinor = 1, NoCompression = 0;

    private readonly delegate* unmanaged[Cdecl]<byte, nint*, int> _paramsCreate;
    private readonly delegate* unmanaged[Cdecl]<nint, ulong, int> _paramsSetDegree;
    private readonly delegate* unmanaged[Cdecl]<nint, ulong, nint*, int> _paramsSetModulus;
    private readonly delegate* unmanaged[Cdecl]<ulong, ulong, int*, nint*, int> _modulusCreate;
    private readonly delegate* unmanaged[Cdecl]<nint, byte, int, nint*, int> _contextCreate;
    private readonly delegate* unmanaged[Cdecl]<nint, byte*, int> _contextIsSet, _plaintextIsZero;
    private readonly delegate* unmanaged[Cdecl]<nint, ulong*, int> _contextFirst;
    private readonly delegate* unmanaged[Cdecl]<nint, nint*, int> _generatorCreate, _generatorSecret, _encoderCreate, _evaluatorCreate, _ciphertextCreate, _plaintextCreate;
    private readonly delegate* unmanaged[Cdecl]<nint, byte, nint*, int> _generatorPublic;
    private readonly delegate* unmanaged[Cdecl]<nint*, int> _publicCreate;
    private readonly delegate* unmanaged[Cdecl]<nint, nint, nint, nint*, int> _encryptorCreate;
    private readonly delegate* unmanaged[Cdecl]<nint, nint, nint*, int> _decryptorCreate;
    private readonly delegate* unmanaged[Cdecl]<nint, nint, nint, nint, int> _encrypt, _add;
    private readonly delegate* unmanaged[Cdecl]<nint, nint, nint, int> _encryptZero, _decrypt;
    private readonly delegate* unmanaged[Cdecl]<nint, ulong, double*, ulong*, double, nint, nint, int> _encode;
    private readonly delegate* unmanaged[Cdecl]<nint, nint, nint, nint, nint, int> _multiplyPlain;
    private readonly delegate* unmanaged[Cdecl]<nint, double*, int> _ciphertextScale, _plaintextScale;
    private readonly delegate* unmanaged[Cdecl]<nint, double, int> _ciphertextSetScale;
    private readonly delegate* unmanaged[Cdecl]<nint, byte, long*, int> _publicSize, _ciphertextSize, _plaintextSize;
    private readonly delegate* unmanaged[Cdecl]<nint, byte*, ulong, byte, long*, int> _publicSave, _ciphertextSave, _plaintextSave;
    private readonly delegate* unmanaged[Cdecl]<nint, nint, byte*, ulong, long*, int> _publicLoad, _ciphertextLoad;
    private readonly delegate* unmanaged[Cdecl]<nint, int> _freeParams, _freeModulus, _freeContext, _freeGenerator, _freeSecret, _freePublic, _freeEncryptor,
        _freeDecryptor, _freeEncoder, _freeEvaluator, _freeCiphertext, _freePlaintext;

    /// <summary>Looks every function up.</summary>
    /// <param name="find">The address of a function by its name, 0 where the library lacks it; what it finds stays loaded.</param>
    /// <exception cref="InternalFailureException">FL6203: it is no SEAL of 4.4 or later in 4.x.</exception>
    public SealC(Func<string, nint> find)
    {
        nint Export(string name) => find(name) is not 0 and nint address ? address
            : throw TooOld($"The library has no function {name}{(Version is null ? ", so that it is no SEAL with C functions" : $", although it is SEAL {Version}")}.");
        byte Number(string name)
        {
            byte number;
            Check(((delegate* unmanaged[Cdecl]<byte*, int>)Export(name))(&number), name);
            return number;
        }

        // The version before the rest: an old library is named as one, and calls of another major version may take other arguments.
        (byte major, byte minor, byte patch) = (Number("Version_Major"), Number("Version_Minor"), Number("Version_Patch"));
        Version = new Version(major, minor, patch);
        if (major != Major || minor < LeastMinor)
            throw TooOld($"The library is SEAL {Version}; FedLearn uses {Major}.{LeastMinor} or later in {Major}.x.");

        _paramsCreate = (delegate* unmanaged[Cdecl]<byte, nint*, int>)Export("EncParams_Create1");
        _paramsSetDegree = (delegate* unmanaged[Cdecl]<nint, ulong, int>)Export("EncParams_SetPolyModulusDegree");
        _paramsSetModulus = (delegate* unmanaged[Cdecl]<nint, ulong, nint*, int>)Export("EncParams_SetCoeffModulus");
        _modulusCreate = (delegate* unmanaged[Cdecl]<ulong, ulong, int*, nint*, int>)Export("CoeffModulus_Create1");
        _contextCreate = (delegate* unmanaged[Cdecl]<nint, byte, int, nint*, int>)Export("SEALContext_Create");
        _contextIsSet = (delegate* unmanaged[Cdecl]<nint, byte*, int>)Export("SEALContext_ParametersSet");
        _contextFirst = (delegate* unmanaged[Cdecl]<nint, ulong*, int>)Export("SEALContext_FirstParmsId");
        _generatorCreate = (delegate* unmanaged[Cdecl]<nint, nint*, int>)Export("KeyGenerator_Create1");
        _generatorSecret = (delegate* unmanaged[Cdecl]<nint, nint*, int>)Export("KeyGenerator_SecretKey");
        _generatorPublic = (delegate* unmanaged[Cdecl]<nint, byte, nint*, int>)Export("KeyGenerator_CreatePublicKey");
        _publicCreate = (delegate* unmanaged[Cdecl]<nint*, int>)Export("PublicKey_Create1");
        _publicSize = (delegate* unmanaged[Cdecl]<nint, byte, long*, int>)Export("PublicKey_SaveSize");
        _publicSave = (delegate* unmanaged[Cdecl]<nint, byte*, ulong, byte, long*, int>)Export("PublicKey_Save");
        _publicLoad = (delegate* unmanaged[Cdecl]<nint, nint, byte*, ulong, long*, int>)Export("PublicKey_Load");
        _encryptorCreate = (delegate* unmanaged[Cdecl]<nint, nint, nint, nint*, int>)Export("Encryptor_Create");
        _encrypt = (delegate* unmanaged[Cdecl]<nint, nint, nint, nint, int>)Export("Encryptor_Encrypt");
        _encryptZero = (delegate* unmanaged[Cdecl]<nint, nint, nint, int>)Export("Encryptor_EncryptZero2");
        _decryptorCreate = (delegate* unmanaged[Cdecl]<nint, nint, nint*, int>)Export("Decryptor_Create");
        _decrypt = (delegate* unmanaged[Cdecl]<nint, nint, nint, int>)Export("Decryptor_Decrypt");
        _encoderCreate = (delegate* unmanaged[Cdecl]<nint, nint*, int>)Export("CKKSEncoder_Create");
        _encode = (delegate* unmanaged[Cdecl]<nint, ulong, double*, ulong*, double, nint, nint, int>)Export("CKKSEncoder_Encode1");
        _evaluatorCreate = (delegate* unmanaged[Cdecl]<nint, nint*, int>)Export("Evaluator_Create");
        _add = (delegate* unmanaged[Cdecl]<nint, nint, nint, nint, int>)Export("Evaluator_Add");
        _multiplyPlain = (delegate* unmanaged[Cdecl]<nint, nint, nint, nint, nint, int>)Export("Evaluator_MultiplyPlain");
        _ciphertextCreate = (delegate* unmanaged[Cdecl]<nint, nint*, int>)Export("Ciphertext_Create1");
        _ciphertextScale = (delegate* unmanaged[Cdecl]<nint, double*, int>)Export("Ciphertext_Scale");
        _ciphertextSetScale = (delegate* unmanaged[Cdecl]<nint, double, int>)Export("Ciphertext_SetScale");
        _ciphertextSize = (delegate* unmanaged[Cdecl]<nint, byte, long*, int>)Export("Ciphertext_SaveSize");
        _ciphertextSave = (delegate* unmanaged[Cdecl]<nint, byte*, ulong, byte, long*, int>)Export("Ciphertext_Save");
        _ciphertextLoad = (delegate* unmanaged[Cdecl]<nint, nint, byte*, ulong, long*, int>)Export("Ciphertext_Load");
        _plaintextCreate = (delegate* unmanaged[Cdecl]<nint, nint*, int>)Export("Plaintext_Create1");
        _plaintextScale = (delegate* unmanaged[Cdecl]<nint, double*, int>)Export("Plaintext_Scale");
        _plaintextIsZero = (delegate* unmanaged[Cdecl]<nint, byte*, int>)Export("Plaintext_IsZero");
        _plaintextSize = (delegate* unmanaged[Cdecl]<nint, byte, long*, int>)Export("Plaintext_SaveSize");
        _plaintextSave = (delegate* unmanaged[Cdecl]<nint, byte*, ulong, byte, long*, int>)Export("Plaintext_Save");
        _freeParams = (delegate* unmanaged[Cdecl]<nint, int>)Export("EncParams_Destroy");
        _freeModulus = (delegate* unmanaged[Cdecl]<nint, int>)Export("Modulus_Destroy");
        _freeContext = (delegate* unmanaged[Cdecl]<nint, int>)Export("SEALContext_Destroy");
        _freeGenerator = (delegate* unmanaged[Cdecl]<nint, int>)Export("KeyGenerator_Destroy");
        _freeSecret = (delegate* unmanaged[Cdecl]<nint, int>)Export("SecretKey_Destroy");
        _freePublic = (delegate* unmanaged[Cdecl]<nint, int>)Export("PublicKey_Destroy");
        _freeEncryptor = (delegate* unmanaged[Cdecl]<nint, int>)Export("Encryptor_Destroy");
        _freeDecryptor = (delegate* unmanaged[Cdecl]<nint, int>)Export("Decryptor_Destroy");
        _freeEncoder = (delegate* unmanaged[Cdecl]<nint, int>)Export("CKKSEncoder_Destroy");
        _freeEvaluator = (delegate* unmanaged[Cdecl]<nint, int>)Export("Evaluator_Destroy");
        _freeCiphertext = (delegate* unmanaged[Cdecl]<nint, int>)Export("Ciphertext_Destroy");
        _freePlaintext = (delegate* unmanaged[Cdecl]<nint, int>)Export("Plaintext_Destroy");
    }

    /// <summary>Version of the library.</summary>
    public Version Version { get; }

    /// <summary>A CKKS context at 128-bit security.</summary>
    /// <param name="degree">N.</param>
    /// <param name="primeBits">Bits of each prime; SEAL chooses the same primes in every version.</param>
    /// <param name="first">The id of the parameters of data, 4 words.</param>
    public SealObject Context(int degree, ReadOnlySpan<int> primeBits, Span<ulong> first)
    {
        const byte ckks = 2, wholeChain = 1;
        const int bits128 = 128;
        nint parameters, context;
        Check(_paramsCreate(ckks, &parameters), "EncParams_Create1");
        using SealObject ownedParameters = new(parameters, _freeParams);
        Check(_paramsSetDegree(parameters, (ulong)degree), "EncParams_SetPolyModulusDegree");
        nint* primes = stackalloc nint[primeBits.Length];
        fixed (int* sizes = primeBits)
            Check(_modulusCreate((ulong)degree, (ulong)primeBits.Length, sizes, primes), "CoeffModulus_Create1");
        int set = _paramsSetModulus(parameters, (ulong)primeBits.Length, primes);
        for (int i = 0; i < primeBits.Length; i++)
            _ = _freeModulus(primes[i]);
        Check(set, "EncParams_SetCoeffModulus");
        Check(_contextCreate(parameters, wholeChain, bits128, &context), "SEALContext_Create");
        SealObject owned = new(context, _freeContext);
        byte isSet;
        Check(_contextIsSet(context, &isSet), "SEALContext_ParametersSet");
        if (isSet == 0)
            throw Failed("SEAL does not accept the parameters at 128-bit security.");
        fixed (ulong* id = first)
            Check(_contextFirst(context, id), "SEALContext_FirstParmsId");
        return owned;
    }

    /// <summary>Draws a key pair.</summary>
    /// <returns>What decrypts under the secret key, and the serialised public key, seeded.</returns>
    public (SealObject Decryptor, byte[] PublicKey) CreateKeys(SealObject context)
    {
        const byte seeded = 1;
        nint generator, publicKey, secretKey, decryptor;
        Check(_generatorCreate(context.Pointer, &generator), "KeyGenerator_Create1");
        using SealObject ownedGenerator = new(generator, _freeGenerator);
        Check(_generatorPublic(generator, seeded, &publicKey), "KeyGenerator_CreatePublicKey");
        using SealObject ownedPublic = new(publicKey, _freePublic);
        byte[] saved = Save(publicKey, _publicSize, _publicSave, CiphertextParts, "PublicKey_Save");
        Check(_generatorSecret(generator, &secretKey), "KeyGenerator_SecretKey");
        using SealObject ownedSecret = new(secretKey, _freeSecret);
        Check(_decryptorCreate(context.Pointer, secretKey, &decryptor), "Decryptor_Create");
        return (new SealObject(decryptor, _freeDecryptor), saved);
    }

    /// <summary>What encrypts under a serialised public key.</summary>
    public SealObject Encryptor(SealObject context, ReadOnlySpan<byte> key)
    {
        nint publicKey, encryptor;
        Check(_publicCreate(&publicKey), "PublicKey_Create1");
        using SealObject owned = new(publicKey, _freePublic);
        Load(publicKey, context, key, _publicLoad, "PublicKey_Load");
        Check(_encryptorCreate(context.Pointer, publicKey, 0, &encryptor), "Encryptor_Create");
        return new SealObject(encryptor, _freeEncryptor);
    }

    /// <summary>A CKKS encoder.</summary>
    public SealObject Encoder(SealObject context) => Create(_encoderCreate, context.Pointer, _freeEncoder, "CKKSEncoder_Create");

    /// <summary>An evaluator.</summary>
    public SealObject Evaluator(SealObject context) => Create(_evaluatorCreate, context.Pointer, _freeEvaluator, "Evaluator_Create");

    /// <summary>An empty ciphertext.</summary>
    public SealObject Ciphertext() => Create(_ciphertextCreate, 0, _freeCiphertext, "Ciphertext_Create1");

    /// <summary>An empty plaintext.</summary>
    public SealObject Plaintext() => Create(_plaintextCreate, 0, _freePlaintext, "Plaintext_Create1");

    /// <summary>Encodes numbers into the first slots, 0 in the rest.</summary>
    public void Encode(SealObject encoder, ReadOnlySpan<double> values, ReadOnlySpan<ulong> parameters, double scale, SealObject destination)
    {
        double none;
        fixed (double* first = values)
        fixed (ulong* id = parameters)
            Check(_encode(encoder.Pointer, (ulong)values.Length, first is null ? &none : first, id, scale, destination.Pointer, 0), "CKKSEncoder_Encode1");
    }

    /// <summary>Encrypts under the public key.</summary>
    public void Encrypt(SealObject encryptor, SealObject plaintext, SealObject destination) =>
        Check(_encrypt(encryptor.Pointer, plaintext.Pointer, destination.Pointer, 0), "Encryptor_Encrypt");

    /// <summary>Encrypts 0 under the public key, at a scale.</summary>
    public void EncryptZero(SealObject encryptor, double scale, SealObject destination)
    {
        Check(_encryptZero(encryptor.Pointer, destination.Pointer, 0), "Encryptor_EncryptZero2");
        // SEAL gives it scale 1 and adds equal scales only; 0 is 0 at every scale.
        Check(_ciphertextSetScale(destination.Pointer, scale), "Ciphertext_SetScale");
    }

    /// <summary>Decrypts.</summary>
    public void Decrypt(SealObject decryptor, SealObject ciphertext, SealObject destination) =>
        Check(_decrypt(decryptor.Pointer, ciphertext.Pointer, destination.Pointer), "Decryptor_Decrypt");

    /// <summary>Adds two ciphertexts; the destination may be one of them.</summary>
    public void Add(SealObject evaluator, SealObject first, SealObject second, SealObject destination) =>
        Check(_add(evaluator.Pointer, first.Pointer, second.Pointer, destination.Pointer), "Evaluator_Add");

    /// <summary>Multiplies a ciphertext with a plaintext that is not 0.</summary>
    public void MultiplyPlain(SealObject evaluator, SealObject ciphertext, SealObject plaintext, SealObject destination) =>
        Check(_multiplyPlain(evaluator.Pointer, ciphertext.Pointer, plaintext.Pointer, destination.Pointer, 0), "Evaluator_MultiplyPlain");

    /// <summary>Scale of the product of a ciphertext and a plaintext.</summary>
    public double ProductScale(SealObject ciphertext, SealObject plaintext)
    {
        double one, other;
        Check(_ciphertextScale(ciphertext.Pointer, &one), "Ciphertext_Scale");
        Check(_plaintextScale(plaintext.Pointer, &other), "Plaintext_Scale");
        return one * other;
    }

    /// <summary>Whether a plaintext is the polynomial 0.</summary>
    public bool IsZero(SealObject plaintext)
    {
        byte zero;
        Check(_plaintextIsZero(plaintext.Pointer, &zero), "Plaintext_IsZero");
        return zero != 0;
    }

    /// <summary>Serialises a ciphertext.</summary>
    public byte[] SaveCiphertext(SealObject ciphertext) => Save(ciphertext.Pointer, _ciphertextSize, _ciphertextSave, CiphertextParts, "Ciphertext_Save");

    /// <summary>Serialises a plaintext.</summary>
    public byte[] SavePlaintext(SealObject plaintext) => Save(plaintext.Pointer, _plaintextSize, _plaintextSave, PlaintextParts, "Plaintext_Save");

    /// <summary>Reads a ciphertext; SEAL checks it against the parameters.</summary>
    public void LoadCiphertext(SealObject ciphertext, SealObject context, ReadOnlySpan<byte> bytes) =>
        Load(ciphertext.Pointer, context, bytes, _ciphertextLoad, "Ciphertext_Load");

    private static SealObject Create(delegate* unmanaged[Cdecl]<nint, nint*, int> create, nint argument, delegate* unmanaged[Cdecl]<nint, int> free, string function)
    {
        nint created;
        Check(create(argument, &created), function);
        return new SealObject(created, free);
    }

    private static byte[] Save(nint saved, delegate* unmanaged[Cdecl]<nint, byte, long*, int> size,
        delegate* unmanaged[Cdecl]<nint, byte*, ulong, byte, long*, int> save, int parts, string function)
    {
        long most, written;
        Check(size(saved, NoCompression, &most), function + "Size");
        var bytes = new byte[most];
        fixed (byte* first = bytes)
            Check(save(saved, first, (ulong)most, NoCompression, &written), function);
        if (written != most)
            Array.Resize(ref bytes, checked((int)written));

        // The number under which every engine reads the form.
        SetVersion(bytes);
        for (int at = parts; at < bytes.Length; at += SetVersion(bytes.AsSpan(at)))
            ;
        return bytes;
    }

    private static int SetVersion(Span<byte> header)
    {
        const ushort magic = 0xA15E;
        if (header.Length < HeaderBytes || BinaryPrimitives.ReadUInt16LittleEndian(header) != magic || header[2] != HeaderBytes || header[5] != NoCompression
            || BinaryPrimitives.ReadUInt64LittleEndian(header[8..]) is < HeaderBytes or > int.MaxValue)
            throw Failed("SEAL serialised an object in another form than that of 4.1 to 4.4.");
        (header[3], header[4]) = (WrittenMajor, WrittenMinor);
        return (int)BinaryPrimitives.ReadUInt64LittleEndian(header[8..]);
    }

    private static void Load(nint loaded, SealObject context, ReadOnlySpan<byte> bytes, delegate* unmanaged[Cdecl]<nint, nint, byte*, ulong, long*, int> load, string function)
    {
        long read;
        fixed (byte* first = bytes)
            Check(load(loaded, context.Pointer, first, (ulong)bytes.Length, &read), function);
        if (read != bytes.Length)
            throw Failed($"{function} read fewer bytes than it was given.");
    }

    private static void Check(int result, string function)
    {
        if (result != 0)
            throw Failed($"SEAL refused {function} ({Meaning(result)}, 0x{result:X8}).");
    }

    // What SEAL's C layer makes of the C++ exception that was thrown; the exception's own text does not cross it.
    private static string Meaning(int result) => unchecked((uint)result) switch
    {
        0x80004003 => "null pointer",
        0x80070057 => "invalid argument",
        0x80070585 => "index out of range",
        0x80131509 => "invalid operation",
        0x80131620 => "input or output",
        0x8007000E => "out of memory",
        0x8007007A => "buffer too small",
        _ => "unexpected"
    };

    private static InternalFailureException TooOld(string cause) => new(HeErrors.SealTooOld, Place, cause,
        $"Build the C library of Microsoft SEAL {Major}.{LeastMinor} or later in {Major}.x and name its file in {NativeSealEngine.Variable}, or use the engine in Node.js.");

    internal static InternalFailureException Failed(string cause) => new(HeErrors.SealFailed, Place, cause,
        "Check the memory that is free; if it persists, report it with the version of SEAL and the run file.");
}

/// <summary>An object that SEAL allocated, freed once: when it is disposed of, or else by the finaliser.</summary>
internal sealed unsafe class SealObject : SafeHandle
{
    private readonly delegate* unmanaged[Cdecl]<nint, int> _free;

    public SealObject(nint pointer, delegate* unmanaged[Cdecl]<nint, int> free)
        : base(0, ownsHandle: true)
    {
        _free = free;
        SetHandle(pointer);
    }

    /// <inheritdoc />
    public override bool IsInvalid => handle == 0;

    /// <summary>SEAL's pointer; the caller keeps this object referenced and undisposed during the call.</summary>
    public nint Pointer => !IsClosed ? handle : throw new ObjectDisposedException(nameof(SealObject));

    /// <inheritdoc />
    protected override bool ReleaseHandle() => _free(handle) == 0;
}
