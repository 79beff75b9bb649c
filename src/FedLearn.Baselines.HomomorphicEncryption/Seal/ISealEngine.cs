namespace FedLearn.Baselines.HomomorphicEncryption;

/// <summary>Microsoft SEAL with CKKS, N = 8192 and primes of 60, 60 and 60 bits: the few operations the baseline needs. Handles are integers that stay valid
/// until they are released. Calls may be issued without awaiting earlier ones; they take effect in the order of issue.</summary>
/// <remarks>Bytes are SEAL's own serialised form without compression, the same for every engine. The caller has checked bytes that came from elsewhere.</remarks>
internal interface ISealEngine : IAsyncDisposable
{
    /// <summary>Name and version, for the report.</summary>
    string Name { get; }

    /// <summary>Plaintexts that fit into its memory; a ciphertext takes the room of two.</summary>
    int MostPlaintexts => int.MaxValue;

    /// <summary>Draws a key pair. The secret stays in the engine.</summary>
    /// <returns>The public key, seeded: half its plain size.</returns>
    Task<byte[]> CreateKeysAsync(CancellationToken cancellationToken);

    /// <summary>Sets the public key that <see cref="EncryptAsync"/> and <see cref="InnerProductAsync"/> use.</summary>
    Task UsePublicKeyAsync(ReadOnlyMemory<byte> key, CancellationToken cancellationToken);

    /// <summary>Encodes at most N/2 numbers at a scale and encrypts them.</summary>
    /// <returns>Handle of the ciphertext.</returns>
    Task<int> EncryptAsync(ReadOnlyMemory<double> block, double scale, CancellationToken cancellationToken);

    /// <summary>Encodes at most N/2 numbers at a scale.</summary>
    /// <returns>Handle of the plaintext, in NTT form.</returns>
    Task<int> EncodeAsync(ReadOnlyMemory<double> block, double scale, CancellationToken cancellationToken);

    /// <summary>Serialises a ciphertext of two polynomials.</summary>
    Task<byte[]> SaveAsync(int ciphertext, CancellationToken cancellationToken);

    /// <summary>Reads a ciphertext of two polynomials.</summary>
    Task<int> LoadAsync(ReadOnlyMemory<byte> ciphertext, CancellationToken cancellationToken);

    /// <summary>The sum of two ciphertexts of one scale.</summary>
    /// <returns>Handle of a new ciphertext.</returns>
    Task<int> AddAsync(int first, int second, CancellationToken cancellationToken);

    /// <summary>Sum over k of ciphertext k times plaintext k, plus a fresh encryption of 0 under the public key.</summary>
    /// <returns>The serialised result; nothing of it stays in the engine.</returns>
    Task<byte[]> InnerProductAsync(ReadOnlyMemory<int> ciphertexts, ReadOnlyMemory<int> plaintexts, CancellationToken cancellationToken);

    /// <summary>Decrypts with the secret key of <see cref="CreateKeysAsync"/>.</summary>
    /// <returns>The serialised plaintext polynomial, in NTT form.</returns>
    Task<byte[]> DecryptAsync(ReadOnlyMemory<byte> ciphertext, CancellationToken cancellationToken);

    /// <summary>Frees ciphertexts and plaintexts.</summary>
    void Release(ReadOnlyMemory<int> ciphertexts, ReadOnlyMemory<int> plaintexts);
}
