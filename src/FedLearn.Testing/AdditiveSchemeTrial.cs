using FedLearn.Baselines.HomomorphicEncryption;

namespace FedLearn.Testing;

/// <summary>How much <see cref="AdditiveSchemeConformance"/> tries.</summary>
public sealed record AdditiveSchemeOptions
{
    /// <summary>Numbers of the long vector; choose more than one block of the scheme holds.</summary>
    /// <value>At least 2. Default 5000.</value>
    public int LongRows { get; init; } = 5000;

    /// <summary>Masked sums of each statistical check.</summary>
    /// <value>At least 128. Default 256.</value>
    public int Draws { get; init; } = 256;

    /// <summary>The scheme with other parameters, whose keys and ciphertexts must be refused. Default null: not checked.</summary>
    public IAdditiveScheme? OtherSize { get; init; }

    /// <summary>How long a check may take. Default 2 minutes.</summary>
    public TimeSpan Patience { get; init; } = TimeSpan.FromMinutes(2);
}

/// <summary>A key and two parties that encrypt under it, for checks of one scheme.</summary>
public sealed class AdditiveSchemeTrial : IAsyncDisposable
{
    private AdditiveSchemeTrial(IAdditiveScheme scheme, AdditiveSchemeOptions options, IKeyHolder holder, IEncryptor first, IEncryptor second) =>
        (Scheme, Options, Holder, First, Second) = (scheme, options, holder, first, second);

    /// <summary>The scheme.</summary>
    public IAdditiveScheme Scheme { get; }

    /// <summary>How much is tried.</summary>
    public AdditiveSchemeOptions Options { get; }

    /// <summary>The key's holder.</summary>
    public IKeyHolder Holder { get; }

    /// <summary>A party.</summary>
    public IEncryptor First { get; }

    /// <summary>Another party.</summary>
    public IEncryptor Second { get; }

    /// <summary>Draws a key and readies two parties.</summary>
    /// <param name="scheme">The scheme.</param>
    /// <param name="options">How much is tried; default as <see cref="AdditiveSchemeOptions"/> has it.</param>
    /// <param name="cancellationToken">Stops.</param>
    /// <exception cref="ConformanceException">The scheme makes no key, or no party can use it.</exception>
    public static async Task<AdditiveSchemeTrial> CreateAsync(IAdditiveScheme scheme, AdditiveSchemeOptions? options = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(scheme);
        options ??= new AdditiveSchemeOptions();
        ArgumentOutOfRangeException.ThrowIfLessThan(options.LongRows, 2, nameof(options));
        ArgumentOutOfRangeException.ThrowIfLessThan(options.Draws, 128, nameof(options));
        try
        {
            IKeyHolder holder = await scheme.CreateKeyAsync(cancellationToken).ConfigureAwait(false);
            return new AdditiveSchemeTrial(scheme, options, holder, await scheme.UseKeyAsync(holder.PublicKey, cancellationToken).ConfigureAwait(false),
                await scheme.UseKeyAsync(holder.PublicKey, cancellationToken).ConfigureAwait(false));
        }
        catch (Exception e) when (!cancellationToken.IsCancellationRequested)
        {
            throw new ConformanceException($"making a key for two parties failed with {e.GetType().Name}: {e.Message}", e);
        }
    }

    /// <summary>Disposes of the parties and of the key.</summary>
    public async ValueTask DisposeAsync()
    {
        await First.DisposeAsync().ConfigureAwait(false);
        await Second.DisposeAsync().ConfigureAwait(false);
        await Holder.DisposeAsync().ConfigureAwait(false);
    }
}
