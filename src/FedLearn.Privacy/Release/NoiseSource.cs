namespace FedLearn.Privacy;

/// <summary>Source of the noise of a <see cref="GaussianMechanism"/>.</summary>
/// <remarks>K is round(Z), Z normal with mean 0 and standard deviation 2^24 (<see cref="LatticeScale"/>): a rounded Gaussian. For an
/// integer n, n + round(Z) = round(n + Z): adding K to an integer is exact post-processing of the Gaussian mechanism.</remarks>
public interface INoiseSource
{
    /// <summary>Standard deviation of the noise in lattice steps: 2^24.</summary>
    const int LatticeScale = 1 << 24;

    /// <summary>Whether the noise protects anything. False for seeded test noise.</summary>
    bool IsSecure { get; }

    /// <summary>Fills a span with independent draws of K.</summary>
    /// <param name="destination">Receives one draw an element.</param>
    void Fill(Span<int> destination);
}
